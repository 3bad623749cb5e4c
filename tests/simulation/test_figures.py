"""Figures at rest: what a start reads of them, and logs and disks that have something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree

import pytest

from app.bounds.discards import Discarded, Discards, LocalState
from app.definitions.model import SettingsRecord
from app.kafka.topics import FIGURES_CHANGELOG
from app.runtime.progress import ProgressTable
from app.runtime.restoring import restore
from tables.changelogged import instants
from tables.event_index.row_log import FILE_NAME, RowLog
from tests.simulation import play as playing
from tests.simulation.check import Outcome
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Correction, Define, Event, Fault, Pass, Script, Step
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import definitions_of
from tests.world.profiles import sized

HOUR = Pass(HOUR_MS)
REST_S = 200.0
"""What was appended is folded, decided and flushed by then."""


def billed(count: int) -> list[Step]:
    """Events of a charge paid in advance, by an hour each."""
    record = SettingsRecord(grace_s=0, default_organization_id="org")
    made = definitions_of(("prepaid",), record)
    steps: list[Step] = [Define(line.command.type, line.command.encode()) for line in made]
    steps += [Pass(1, WEEK_MS), HOUR]
    for number in range(count):
        steps += [
            Event("prepaid", f"t{number}", properties={"v": "3", "u": f"u{number % 3}"}),
            HOUR,
        ]
    return steps


def canceled(number: int) -> list[Step]:
    return [Correction(f"t{number}", f"c{number}"), HOUR]


def play(
    steps: Sequence[Step],
    meanwhile: Callable[[Player], None],
    then: Sequence[Step],
    directory: Path,
    seed: int = 0,
) -> Outcome:
    """Play steps, come to rest, do something to the cluster, and play the others."""

    async def act(player: Player) -> Outcome:
        await player.begin()
        for step in (*player.steps, None, *then):
            if step is None:
                await asyncio.sleep(REST_S)
                meanwhile(player)
            else:
                await player.step(step)
        await asyncio.sleep(REST_S)
        return await player.end()

    return run(in_simulation(Script(1, 1, list(steps)), seed, directory, act))


def killed(player: Player) -> None:
    for worker in player.workers:
        worker.process.kill()


def without_disk(player: Player) -> None:
    killed(player)
    rmtree(player.workers[0].directory, ignore_errors=True)


def rows_of(player: Player) -> int:
    """How many figures and chains rest by the log."""
    return player.workers[0].engine.owned[0].state.checkpoint.at_rest.length


@pytest.fixture(autouse=True)
def _files_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "tear_files", lambda *_: None)


def test_a_start_reads_the_figures_since_the_last_flush(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However many events were billed before; without local disk, all of them."""
    loaded, load = 0, RowLog.load

    def count(log: RowLog, values: list[bytes]) -> None:
        nonlocal loaded
        loaded += len(values)
        load(log, values)

    monkeypatch.setattr(RowLog, "load", count)
    read: list[tuple[int, int]] = []
    for what, then in ((lambda _: None, [Fault.RESTART]), (without_disk, [])):
        found = []
        for events in (10, 60):
            loaded = 0
            directory = tmp_path / f"{what.__name__} {events}"
            assert play(billed(events), what, [*then, *canceled(1)], directory).check() == []
            found.append(loaded)
        read.append((found[0], found[1]))
    (few, many), (all_of_few, all_of_many) = read
    assert 0 < few == many
    assert all_of_many > 4 * all_of_few


def test_a_log_of_figures_that_is_torn_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []

    def tear(player: Player) -> None:
        player.broker.log(FIGURES_CHANGELOG, 0).entries.pop(-2)
        without_disk(player)

    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    then = [HOUR, *canceled(1), *canceled(5)]
    assert play(billed(6), tear, then, tmp_path).check() == []
    assert any("torn" in text for text in said)


@pytest.mark.parametrize("how", ["gone", "short", "altered"])
def test_a_file_of_figures_that_is_not_what_it_was_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """When it is opened, or when what is altered is looked at."""
    told: list[tuple[LocalState, Discarded]] = []
    (steps, before), then = (billed(6), 0), [HOUR, *canceled(0), *canceled(5)]

    def damage(player: Player) -> None:
        nonlocal before
        before = rows_of(player)
        (path,) = Path(player.workers[0].directory).rglob(f"figures/*/*/{FILE_NAME}")
        content = bytearray(path.read_bytes())
        # It is of the first row.
        content[40] ^= 1
        path.write_bytes(content[:30] if how == "short" else content)
        if how == "gone":
            path.unlink()
        if how != "altered":
            killed(player)

    monkeypatch.setattr(Discards, "tell", lambda _, what, number, why: told.append((what, why)))
    outcome = play(steps, damage, then, tmp_path)
    assert outcome.check() == []
    assert before >= 6
    # What the index has yet to put on local disk is read of the log from its start anyway.
    expected = [("figures", "damaged")] if how == "altered" else []
    assert [(what, why.reason) for what, why in told] == expected


def test_chains_that_rest_go_on_where_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are found again for an event, a correction, a closing and a restart."""
    laid, lay_down = 0, instants.InstantTable._lay_down

    def count(table: instants.InstantTable, key: bytes, value: bytes) -> None:
        nonlocal laid
        laid += key[:1] == b"c"
        lay_down(table, key, value)

    monkeypatch.setattr(instants.InstantTable, "_lay_down", count)
    again = Event("prepaid", "again", properties={"v": "5", "u": "u0"})
    then = [Fault.CRASH, HOUR, again, HOUR, *canceled(0), Pass(WEEK_MS), *canceled(3), HOUR]
    for seed in range(sized(9, 6)):
        laid = 0
        other = Event("prepaid", "other", properties={"v": "1", "u": "u9"})
        steps = [*billed(6), Pass(DAY_MS), other, Pass(DAY_MS), HOUR]
        assert play(steps, lambda _: None, then, tmp_path / str(seed), seed).check() == []
        assert bool(laid) == (seed % 3 != 0)


def test_figures_stay_in_the_changelog_while_an_earlier_program_has_a_partition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once there is none, those of before are laid down, some with each flush."""
    sizes: list[int] = []
    old = True

    def all_read(progress: ProgressTable, version: int, partitions: int) -> bool:
        return not old

    def update(player: Player) -> None:
        nonlocal old
        sizes.append(rows_of(player))
        old = False
        killed(player)

    monkeypatch.setattr(ProgressTable, "all_read", all_read)
    monkeypatch.setattr(instants, "MOST_LAID_DOWN", 2)
    new = Event("prepaid", "new", properties={"v": "5", "u": "u1"})
    then = [new, HOUR, *canceled(4), *canceled(5), Fault.CRASH, HOUR, *canceled(1)]
    outcome = play(billed(6), update, then, tmp_path)
    assert outcome.check() == []
    assert sizes == [0]
    assert len(outcome.broker.log(FIGURES_CHANGELOG).entries) > 2
