"""Dead letters page by page, newest first, read from the end of every partition of their topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.bounds.turns import Steps, Turns, Work
from app.kafka.asked import asked
from app.kafka.log_readers import LogRecord, bounds_of, scan_many
from app.kafka.names import TopicPartition
from app.meter.overview import DeadLetterPage, DeadLetterQuery, DeadLetterView
from app.runtime.dead_letters import StandsFor, dead_letter_view, organization_of
from app.settings import Settings

_FIRST_TOTAL: Final = 200
"""Offsets read from the end of all partitions, at first; those of commits count as well."""
_FIRST_REACH: Final = 4
"""The least that is read of each partition."""
_ROUNDS: Final = 3
"""Each reads four times as far. A page without a match says where to go on."""
_SINCE: Final = 1_000
"""Offsets of a partition that one look for new letters reads."""


class _Read(NamedTuple):
    """A record of the topic in the order of the list, and its letter if it is asked for."""

    at_ms: int
    partition: int
    offset: int
    letter: DeadLetterView | None

    @property
    def order(self) -> tuple[int, int, int]:
        return self.at_ms, self.partition, self.offset


async def letters_before(
    settings: Settings,
    turns: Turns,
    query: DeadLetterQuery,
) -> DeadLetterPage:
    """Return the newest letters below the offsets that are named, and where to go on."""
    most, before = query.most, query.before
    topic = settings.topic(settings.dead_letter_topic)
    tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    starts, lowers = dict[int, int](), dict[int, int]()
    async with asked():
        bounds = await bounds_of(settings, tps)
    for tp, (start, end) in bounds.items():
        starts[tp.partition] = start
        lowers[tp.partition] = max(start, min(end, before.get(tp.partition, end)))
    found: list[_Read] = []
    reach = max(_FIRST_REACH, _FIRST_TOTAL // len(tps))
    for _ in range(_ROUNDS):
        uppers = {number: end for number, end in lowers.items() if end > starts[number]}
        lowers |= {number: max(starts[number], end - reach) for number, end in uppers.items()}
        ranges = {TopicPartition(topic, n): (lowers[n], end) for n, end in uppers.items()}
        work = Work("request", "dead letters", query.organization_id or "")
        async with scan_many(settings, ranges) as batches:
            async for tp, records in batches:
                found += await turns.run(work, _read(records, tp.partition, query, starts))
        shown = _shown(found, lowers, starts)
        if len(shown) >= most or all(lowers[number] == starts[number] for number in starts):
            break
        reach *= 4
    page = shown[:most]
    if len(shown) > most:
        oldest = page[-1].order
        lowers = _below(found, oldest, lowers)
    else:
        horizon_ms = _horizon_ms(found, lowers, starts)
        lowers = _below(found, (horizon_ms, -1, -1), lowers)
    is_last = all(lowers[number] == starts[number] for number in starts)
    letters = [one.letter for one in page if one.letter is not None]
    return DeadLetterPage(letters, None if is_last else lowers)


async def letters_since(
    settings: Settings,
    turns: Turns,
    organization_id: str | None,
    since: Mapping[int, int] | None,
) -> tuple[list[DeadLetterView], Mapping[int, int]]:
    """Return letters from these offsets on, some at a time, and where to go on.

    None stands for the end of the topic.
    """
    topic = settings.topic(settings.dead_letter_topic)
    tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    async with asked():
        bounds = await bounds_of(settings, tps)
    if since is None:
        return [], {tp.partition: end for tp, (_, end) in bounds.items()}
    ranges = dict[TopicPartition, tuple[int, int]]()
    for tp, (start, end) in bounds.items():
        first = max(start, since.get(tp.partition, end))
        ranges[tp] = first, min(end, first + _SINCE)
    found: list[_Read] = []
    grown = {tp: (first, after) for tp, (first, after) in ranges.items() if first < after}
    if grown:
        work = Work("request", "dead letters", organization_id or "")
        query = DeadLetterQuery(organization_id=organization_id)
        async with scan_many(settings, grown) as batches:
            async for tp, records in batches:
                found += await turns.run(work, _read(records, tp.partition, query, {}))
    letters = [one.letter for one in found if one.letter is not None]
    return letters, {tp.partition: after for tp, (_, after) in ranges.items()}


def _read(
    records: Sequence[LogRecord], partition: int, query: DeadLetterQuery, starts: Mapping[int, int]
) -> Steps[list[_Read]]:
    found = []
    for record in records:
        letter = _letter(record, partition, query)
        if letter is not None and query.to_replay and not _is_to_replay(record, partition, starts):
            letter = None
        found.append(_Read(record.timestamp_ms, partition, record.offset, letter))
        yield
    return found


def _letter(record: LogRecord, partition: int, query: DeadLetterQuery) -> DeadLetterView | None:
    if query.organization_id not in (None, organization_of(record)):
        return None
    letter = dead_letter_view(record, partition)
    return letter if query.code in (None, letter.code) else None


def _is_to_replay(record: LogRecord, partition: int, starts: Mapping[int, int]) -> bool:
    """Return whether a letter is one to replay; `starts`: where the topic begins, by partition.

    One that was refused again for the same reason is there once more each time. The first of them
    stands for all, as long as the topic has it.
    """
    first = StandsFor.of(record, partition)
    is_first = first[:2] == (partition, record.offset)
    return is_first or first.offset < starts.get(first.partition, first.offset + 1)


def _horizon_ms(found: list[_Read], lowers: Mapping[int, int], starts: Mapping[int, int]) -> int:
    """Return the time from which on every partition has been read."""
    oldest = dict[int, int]()
    for one in found:
        oldest[one.partition] = min(one.at_ms, oldest.get(one.partition, one.at_ms))
    unread = [number for number in starts if lowers[number] > starts[number]]
    return max((oldest.get(number, 0) for number in unread), default=0)


def _shown(found: list[_Read], lowers: Mapping[int, int], starts: Mapping[int, int]) -> list[_Read]:
    """Return the letters that no unread one can come before, newest first."""
    horizon_ms = _horizon_ms(found, lowers, starts)
    sure = [one for one in found if one.letter is not None and one.at_ms >= horizon_ms]
    return sorted(sure, key=lambda one: one.order, reverse=True)


def _below(
    found: list[_Read], shown_from: tuple[int, int, int], lowers: Mapping[int, int]
) -> dict[int, int]:
    """Return the offset of each partition below which nothing is shown yet."""
    below = dict(lowers)
    for one in found:
        if one.order < shown_from:
            below[one.partition] = max(below[one.partition], one.offset + 1)
    return below
