"""Where partitions end is asked of those that are behind, however many others there are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agents.sample_lag import ASKED_EVERY_S, _astir, _Ends, _sample
from app.kafka.names import TopicPartition

PARTITIONS = 64
TPS = [TopicPartition("raw", number) for number in range(PARTITIONS)]


class Worker:
    """What is fetched, and what is asked for; a fetch of each partition saw its end."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.fetched: dict[TopicPartition, tuple[int, int]] = dict.fromkeys(TPS, (10, 10))
        self.asked: list[int] = []
        self.leaderless: set[TopicPartition] = set()
        self.clock = SimpleNamespace(monotonic_s=lambda: self.now_s)
        self.delivery = SimpleNamespace(fetched_ends=self.fetched.get)
        self.offsets = SimpleNamespace(led_ends=self._ends, written_ends=self._ends)

    async def _ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(len(tps))
        return {tp: 50 for tp in tps if tp not in self.leaderless}


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def ends(worker: Worker) -> Any:
    made: Any = _Ends(worker)  # type: ignore[arg-type]
    return made


async def test_nothing_is_asked_for_where_all_is_folded(worker: Worker, ends: Any) -> None:
    for _ in range(3):
        await ends.learn(dict.fromkeys(TPS, 10))
        worker.now_s += ASKED_EVERY_S
    assert worker.asked == []
    assert {ends.of(tp) for tp in TPS} == {(10, 10)}


async def test_who_is_behind_is_asked_for(worker: Worker, ends: Any) -> None:
    # One waits in the worker, so that what came after it is not fetched; one is held by an open
    # transaction; one was never fetched.
    worker.fetched[TPS[1]] = (10, 12)
    del worker.fetched[TPS[2]]
    folded = {**dict.fromkeys(TPS, 10), TPS[0]: 7}
    await ends.learn(folded)
    assert worker.asked == [3, 3]
    assert [ends.of(tp) for tp in TPS[:4]] == [(50, 50), (50, 50), (50, 50), (10, 10)]


async def test_between_two_looks_only_those_that_fold_or_are_behind_are_sampled() -> None:
    worker: Any = Worker()
    looked: list[int] = []

    class Loads:
        def note(self, number: int, *_: object) -> None:
            looked.append(number)

    def logs_of(number: int) -> tuple[TopicPartition, TopicPartition]:
        return TPS[number], TopicPartition("rekeyed", number)

    async def holders(_: object) -> dict[int, int]:
        return {}

    async def sampled() -> list[int]:
        looked.clear()
        await _sample(worker, known, _astir(worker))
        worker.now_s += 1
        return list(looked)

    checkpoints = [SimpleNamespace(raw_next=10, rekeyed_next=0) for _ in TPS]
    worker.owned = {
        n: SimpleNamespace(state=SimpleNamespace(checkpoint=checkpoint), folded_events=0)
        for n, checkpoint in enumerate(checkpoints)
    }
    worker.fetched |= {logs_of(n)[1]: (0, 0) for n in range(PARTITIONS)}
    worker.offsets.logs_of = logs_of
    worker.status = SimpleNamespace(observed={})
    worker.tally = SimpleNamespace(loads=Loads())
    worker.brokers = SimpleNamespace(holders=holders)
    known = _Ends(worker)
    assert await sampled() == [*range(PARTITIONS)]
    assert await sampled() == []
    worker.owned[3].folded_events = 7
    worker.fetched[TPS[3]] = (12, 12)
    assert await sampled() == [3]
    assert worker.status.observed[3].lag == 2
    checkpoints[3].raw_next = 12
    assert await sampled() == [3]
    assert worker.status.observed[3].is_at_rest
    assert await sampled() == []
    # One that has just come is looked at, and asked for alone.
    del worker.fetched[TPS[5]], worker.status.observed[5], known._known[TPS[5]]
    checkpoints[5].raw_next = 50
    assert await sampled() == [5]
    assert worker.asked == [1, 1]


async def test_an_answer_that_fails_leaves_what_was_known(worker: Worker, ends: Any) -> None:
    folded = {**dict.fromkeys(TPS, 10), TPS[0]: 7}
    await ends.learn(folded)
    worker.now_s += ASKED_EVERY_S

    async def away(_: object) -> dict[TopicPartition, int]:
        raise TimeoutError

    worker.offsets.led_ends = away
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await ends.learn(folded)
    assert ends.of(TPS[0]) == (50, 50)


async def test_one_without_a_leader_leaves_what_was_known_of_it(worker: Worker, ends: Any) -> None:
    worker.leaderless = {TPS[0]}
    folded = {**dict.fromkeys(TPS, 10), TPS[0]: 7, TPS[1]: 7}
    worker.fetched |= {TPS[0]: (10, 12), TPS[1]: (10, 12)}
    await ends.learn(folded)
    assert not ends.are_known(TPS[:2])
    assert ends.of(TPS[1]) == (50, 50)
    worker.leaderless.clear()
    await ends.learn(folded)
    assert ends.of(TPS[0]) == (50, 50)
    worker.leaderless = {TPS[0]}
    worker.now_s += ASKED_EVERY_S
    await ends.learn(folded)
    assert ends.of(TPS[0]) == (50, 50)
