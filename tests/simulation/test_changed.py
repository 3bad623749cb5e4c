"""Seeds with usage-changed: what is told is what the offline fold tells, whatever befalls."""

from __future__ import annotations

from collections import defaultdict
from shutil import rmtree

import pytest

from app.kafka.topics import COMPACTED_CHANGELOGS, INDEX_CHANGELOG
from tests.simulation.play import Player, play
from tests.simulation.script import CHANGED_FROM, TORN, Script, script_of
from tests.simulation.test_mending import eventful

TELLING = (CHANGED_FROM + 1, CHANGED_FROM + 3, CHANGED_FROM + 5)


@pytest.mark.parametrize("seed", TELLING)
def test_changes_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-changed")


def lose_state(player: Player, partition: int) -> None:
    """All that was ever written of a partition, but for its messages."""
    for changelog in (*COMPACTED_CHANGELOGS, INDEX_CHANGELOG):
        player.broker.log(changelog, partition).entries.clear()
    player.redis.lose()
    for worker in player.workers:
        rmtree(worker.directory, ignore_errors=True)
        worker.process.kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_told_again_after_a_loss_of_all_state_is_the_same(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(Player, "_tear", lose_state)
    outcome = play(Script(1, 1, [*eventful(usage_changed=True), TORN]), seed)
    told = defaultdict[bytes | None, list[object]](list)
    for entry in outcome.messages("usage-changed"):
        told[dict(entry.headers)["ce_id"]].append((entry.key, entry.value, entry.headers))
    assert told
    assert all(len(copies) == 2 and copies[0] == copies[1] for copies in told.values())
    assert outcome.check() == []
