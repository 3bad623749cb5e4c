"""Reports of progress: the furthest append time counts, the newest owner is the one to ask."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from app.definitions.periods import NEVER_MS
from app.meter.errors import Unavailable
from app.runtime.progress import Progress, ProgressTable, Seal
from app.runtime.reports import Reports
from app.settings import Settings
from tests.world.waiting import until


def report(epoch: int, append_time_ms: int, url: str) -> Progress:
    return Progress(0, append_time_ms, 100, epoch, url, append_time_ms)


@pytest.mark.parametrize(
    ("reports", "append_time_ms", "url"),
    [
        ([(1, 10, "a"), (1, 20, "a")], 20, "a"),
        ([(1, 20, "a"), (1, 10, "b")], 20, "b"),
        ([(1, 20, "a"), (2, 10, "b")], 20, "b"),
        ([(2, 10, "b"), (1, 20, "a")], 20, "b"),
    ],
    ids=["goes on", "again from before", "a new owner", "an owner of before, late"],
)
def test_reports(reports: list[tuple[int, int, str]], append_time_ms: int, url: str) -> None:
    table = ProgressTable()
    for one in reports:
        table.note(report(*one))
    found = table.of(0)
    assert found is not None
    assert (found.append_time_ms, found.url) == (append_time_ms, url)


@pytest.mark.parametrize(
    ("log_ms", "cut_ms"),
    [(0, 10), (10, 10), (11, 30), (30, 30), (31, NEVER_MS)],
    ids=["first", "not past it", "one that waits for a refold holds up nobody", "last", "none"],
)
def test_the_next_cut_is_one_that_the_log_has_not_passed(log_ms: int, cut_ms: int) -> None:
    table = ProgressTable()
    for partition, next_cut_ms in enumerate((30, 10, NEVER_MS)):
        table.note(Progress(partition, 0, next_cut_ms, 1, "a", 0))
    assert table.next_cut_ms(log_ms) == cut_ms


@pytest.mark.parametrize(
    ("now_ms", "cut_ms"), [(10, None), (11, 10), (31, 30)], ids=["none", "one", "the latest"]
)
def test_the_latest_cut_that_is_past_is_known_to_all(now_ms: int, cut_ms: int | None) -> None:
    table = ProgressTable()
    for partition, next_cut_ms in enumerate((30, 10, NEVER_MS)):
        table.note(Progress(partition, 0, next_cut_ms, 1, "a", 0))
    assert table.latest_past_ms(now_ms) == cut_ms


def test_others_wait_for_a_partition_once_they_are_past_their_cuts_themselves() -> None:
    table = ProgressTable()
    # The second is at its cut yet, the third past it and the cut of the first not due.
    for partition, (append_time_ms, next_cut_ms) in enumerate(((5, 30), (10, 10), (25, 20))):
        table.note(Progress(partition, append_time_ms, next_cut_ms, 1, "a", 0))
    assert [table.is_waited_for(each, -1) for each in range(4)] == [True, True, False, True]
    # By what is forwarded and not told yet, too.
    assert [table.is_waited_for(0, each) for each in (20, 21)] == [True, False]


async def test_a_flush_takes_back_nothing_that_was_forwarded_ahead_of_it() -> None:
    """The topic is compacted: a worker that comes later reads the newest report alone."""
    seal, told = Seal(_settings()), list[Progress | None]()

    async def append(topic: str, key: bytes, value: bytes, partition: int) -> None:
        told.append(seal.open(value))

    reports = Reports("progress", seal, append)
    running = asyncio.create_task(reports.run())
    ahead, flush = report(1, 20, "before"), report(2, 10, "now")
    for count, each in enumerate((ahead, flush, report(1, 30, "before")), 1):
        reports.tell(each)
        await until(lambda count=count: len(told) == count, every_s=0)  # type: ignore[misc]
    running.cancel()
    assert told == [ahead, *(flush._replace(append_time_ms=reached) for reached in (20, 30))]


async def test_reports_are_told_at_once_and_again_where_brokers_took_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after the other each of them waited for a request of its own."""
    monkeypatch.setattr("app.runtime.reports.RETRY_S", 0.01)
    seal, taken, asked, waiting = Seal(_settings()), list[int](), list[int](), asyncio.Event()

    async def append(topic: str, key: bytes, value: bytes, partition: int) -> None:
        asked.append(int(key))
        if len(asked) == 3:
            waiting.set()
        await waiting.wait()
        if asked.count(2) == 1 and int(key) == 2:
            raise Unavailable("no broker answers")
        taken.append(int(key))

    reports = Reports("progress", seal, append)
    for partition in (1, 2, 3):
        reports.tell(Progress(partition, 10, 100, 1, "now", 0))
    running = asyncio.create_task(reports.run())
    await until(lambda: len(taken) == 3)
    running.cancel()
    assert (asked, sorted(taken[:2]), taken[2]) == ([1, 2, 3, 2], [1, 3], 2)


def _settings(**values: Any) -> Settings:
    return Settings(profile="test", **values)


def test_only_what_our_workers_seal_is_a_report() -> None:
    """Whoever may write to the topic can neither move a cut nor name a worker."""
    progress, seal = report(3, 17, "http://w"), Seal(_settings())
    value = seal.close(progress)
    assert seal.open(value) == progress
    told = msgspec.json.decode(value)
    # Older workers run beside a newer one while it is rolled out.
    assert seal.open(msgspec.json.encode({**told, "lag": 6})) == progress
    others = [_settings(peer_secret="guess"), _settings(topic_prefix="other-")]
    forged = [
        *(Seal(each).close(progress) for each in others),
        *(msgspec.json.encode({**told, name: told[name] * 2}) for name in ("url", "epoch")),
        msgspec.json.encode({**told, "append_time_ms": 18}),
        msgspec.json.encode(progress._asdict()),
        *(b"", b"{", b"{}", b"[1]", b"1"),
        None,
    ]
    assert [seal.open(each) for each in forged] == [None] * len(forged)


def test_what_a_program_reads_of_state_is_sealed_by_itself() -> None:
    """Programs of before seal and know nothing of it, and nobody else may say it for them."""
    seal, progress = Seal(_settings()), report(3, 17, "http://w")._replace(state_version=7)
    told = msgspec.json.decode(seal.close(progress))
    assert seal.open(msgspec.json.encode(told)) == progress
    older = {name: told[name] for name in (*Progress._fields[:6], "seal")}
    plain = progress._replace(state_version=0)
    for value in (older, {**older, "state_version": 9}, {**told, "state_version": 9}):
        assert seal.open(msgspec.json.encode(value)) == plain


def test_who_is_behind_is_looked_at_first() -> None:
    table, asked = ProgressTable(), list[int]()

    class Asked(dict[int, Progress]):
        def get(self, partition: int, default: Any = None) -> Any:
            asked.append(partition)
            return super().get(partition, default)

    table._newest = Asked()
    for partition, at_ms in enumerate((7, 8, 3, 9)):
        table.note(Progress(partition, at_ms, NEVER_MS, 1, "a", 0))
    assert (table.first_behind(5, 4), table.first_behind(5, 2)) == (2, None)
    assert table.first_behind(5, 4) == 2
    asked.clear()
    assert table.first_behind(6, 4) == 2
    assert asked == [2]
    assert table.first_behind(5, 5) == 2
    table.note(Progress(2, 6, NEVER_MS, 1, "a", 0))
    assert (table.first_behind(5, 4), table.first_behind(7, 4)) == (None, 2)
    # Of which nothing is known.
    assert table.first_behind(5, 5) == 4


def test_all_read_what_every_owner_reads() -> None:
    table = ProgressTable()
    for partition, version in enumerate((7, 8)):
        assert not table.all_read(7, 2)
        table.note(Progress(partition, 0, NEVER_MS, 1, "a", 0, version))
    assert table.all_read(7, 2)
    assert not table.all_read(8, 2)
    table.note(Progress(1, 0, NEVER_MS, 2, "b", 0))
    assert not table.all_read(7, 2)
