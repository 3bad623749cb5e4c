"""What a start reads of what was published, and local disk that has something else."""

from __future__ import annotations

import msgspec
import pytest

from app.kafka.topics import CELLS_CHANGELOG
from app.runtime.restoring import restore
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.piece_store import PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tests.simulation import play as playing
from tests.simulation.play import Player, play
from tests.simulation.script import TORN, Fault, Pass, Script, Step
from tests.simulation.test_mending import eventful, used
from tests.world.clock import WEEK_MS


def test_a_start_reads_what_was_published_since_the_last_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much was published before; without local disk, all of it."""
    loads, load_all = 0, PublishedTable.load_all

    def count(table: PublishedTable, records: list[tuple[bytes, bytes | None]]) -> None:
        nonlocal loads
        loads += len(records)
        load_all(table, records)

    monkeypatch.setattr(PublishedTable, "load_all", count)
    read: dict[Fault, list[int]] = {Fault.CRASH: [], Fault.INDEX_LOST: []}
    for fault, found in read.items():
        for weeks in (4, 40):
            steps: list[Step] = [*eventful(), *[Pass(WEEK_MS)] * weeks]
            assert play(Script(1, 1, steps)).check() == []
            loads = 0
            assert play(Script(1, 1, [*steps, Pass(0), fault, Pass(0)])).check() == []
            found.append(loads)
    few, many = read[Fault.CRASH]
    assert 0 < few == many
    few, many = read[Fault.INDEX_LOST]
    assert many > 5 * few


@pytest.mark.parametrize("at_fault", ["sum", "rows"])
def test_local_disk_that_has_something_else_published_is_made_again(
    monkeypatch: pytest.MonkeyPatch, at_fault: str
) -> None:
    """As of another log, or of a flush that the brokers have lost."""
    commit, altered = PieceStore.commit, 0

    def alter(store: PieceStore[Stands], stands: Stands) -> bool:
        nonlocal altered
        altered += 1
        if at_fault == "rows":
            store.write([(("of-another", 0), b"\x90")])
        return commit(store, stands._replace(sum=ChangelogSum(stands.sum.records + 1, 3)))

    monkeypatch.setattr(PieceStore, "commit", alter)
    discards, discard = 0, PieceStore.discard

    def note(store: PieceStore[Stands]) -> None:
        nonlocal discards
        discards += 1
        discard(store)

    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    monkeypatch.setattr(PieceStore, "discard", note)
    steps: list[Step] = [*eventful(), Pass(WEEK_MS), Fault.CRASH, Pass(WEEK_MS), used("b")]
    assert play(Script(1, 1, steps)).check() == []
    assert altered
    assert discards
    assert not said, "the changelog is whole"


def test_what_was_published_is_not_forgotten_with_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cells and checkpoint are gone, the rest is whole: nothing is published a second time."""

    def empty(player: Player, partition: int) -> None:
        player.broker.log(CELLS_CHANGELOG, partition).entries.clear()
        for worker in player.workers:
            worker.process.kill()

    monkeypatch.setattr(Player, "_tear", empty)
    monkeypatch.setattr(playing, "_OUTPUT_LOST", 0)
    steps: list[Step] = [*eventful(), Pass(WEEK_MS), TORN, Pass(WEEK_MS), used("b"), Pass(WEEK_MS)]
    outcome = play(Script(1, 1, steps))
    assert outcome.check() == []
    entries = outcome.broker.log("usage-records").entries
    ids = [msgspec.json.decode(entry.value)["id"] for entry in entries if entry.value]
    assert len(ids) > 2
    assert len(ids) == len(set(ids))
