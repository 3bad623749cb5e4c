"""Close: usage records of every cut that the logs have passed (records-and-cuts §4).

A cut at T is taken when everything appended until T is folded. That includes the partition's own
raw events, events that other partitions forward by events-rekeyed, and the definitions. Until then
the cut waits, and `Cuts.blocked` says for what.
"""

from __future__ import annotations

import logging
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from agents.loop import whenever_wanted
from app.bounds.limits import FLUSH_BYTES, FLUSH_USAGE_RECORDS
from app.bounds.turns import Steps, Work
from app.definitions.periods import NEVER_MS
from app.failpoints import failpoint
from app.kafka.clients import NOT_TAKEN
from app.kafka.transactions import Record
from app.runtime.partition.cuts import HeldBy
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord, Topic
from tables.closing.changed import changed_at
from tables.closing.close import closing, let_go, settling
from tables.closing.instants import instants_at, members_wanted

log = logging.getLogger(__name__)

AT_FIRST = 64
"""Items of a subscription's closing in one go: who has more waits for those who do not."""
OF_A_STEP = 8
"""Items that a step without a record counts for: it may have looked at 64 cells."""
AT_ONCE = 10_000
"""Steps of one that has more, before the next one of its organization has its turn."""
OF_ORGANIZATION = 64
"""Items of an organization's closings, before the next organization has its turn."""
HALF_CLOSED_BYTES = 2 * 1024 * 1024
"""Packed cells of those of an organization that wait: at hand they take some ten times as much."""

CLOSING = Work("close", "cut")

USAGE_RECORDS: Topic = "usage-records"


async def close(owned: OwnedPartition) -> None:
    """Take the partition's cuts, in order, until cancelled."""

    async def close_what_is_due() -> None:
        try:
            await close_due(owned)
            await forget_final(owned)
        except NOT_TAKEN as error:
            # How far the logs go cannot be asked now.
            log.debug("Partition %s closes nothing yet: %r", owned.number, error)
            await owned.shared.brokers.pause(0)

    await whenever_wanted(owned, owned.cuts.woken, owned.cuts.pause_s, close_what_is_due)


async def close_due(owned: OwnedPartition) -> None:
    """Take every cut that nothing holds back."""
    while True:
        cuts = owned.cuts
        if cuts.schedule.has_taken:
            # A cut was ended half-way by a rebalance; the partition came back as it was.
            await owned.work.run(CLOSING, cuts.rescheduling())
        # Whoever found them may have been ended by one, too.
        cuts.reschedule(owned.state.cuts.take_late_names())
        cut_ms = cuts.schedule.next_ms()
        now_ms = owned.shared.clock.now_ms()
        if cut_ms >= NEVER_MS or cut_ms > max(now_ms, owned.state.checkpoint.append_time_ms):
            cuts.let_go()
            return
        reason = await _held_back_by(owned, cut_ms)
        if reason is not None:
            cuts.hold_back(cut_ms, *reason, now_ms)
            return
        cuts.let_go()
        async with owned.work.shaping:
            # Whoever had it may have found a cut before it, or what it has to wait for.
            if cuts.schedule.next_ms() != cut_ms or _to_be_shaped(owned, cut_ms) is not None:
                continue
            if owned.state.standing.next_history_ms() <= cut_ms:
                await owned.renewal.enter_history()
            else:
                await _take_cut(owned, cut_ms)


async def forget_final(owned: OwnedPartition) -> None:
    """Forget the cells of periods that are final, once every owner reads state without them.

    Some of them at a time, and so are emptied sets of members that nothing is folded into any more.
    In between cuts are taken.
    """
    forgetting = owned.cuts.forgetting
    if forgetting.has_work and owned.shared.is_state_read_by_all():
        kept = await owned.shared.offsets.kept(owned.number)
        async with owned.work.shaping:
            if await owned.work.run(CLOSING, forgetting.forgetting(kept)):
                owned.cuts.woken.set()
        owned.next_flush.note_moved()
    members = owned.state.members
    if not members.leaving:
        return
    # A refold may have sets leave meanwhile, and none come back.
    async with owned.work.shaping:
        stored = await owned.members.stored_in_part(members.leaving)
        if stored is None:
            return
        await owned.work.run(CLOSING, members.emptying(stored))
    owned.next_flush.note_moved()
    if members.leaving:
        # What is removed is at hand until the store follows a flush: not more of it at once.
        await owned.flush()
    owned.cuts.woken.set()


async def _held_back_by(owned: OwnedPartition, cut_ms: int) -> tuple[HeldBy, str] | None:
    """Return what the cut waits for, as a code and a sentence; None when it can be taken."""
    if owned.state.checkpoint.append_time_ms <= cut_ms:
        return "raw_behind", f"raw partition {owned.number} is not folded past the cut"
    progress = owned.shared.progress
    behind = progress.first_behind(cut_ms, owned.shared.settings.raw_partitions)
    if behind is not None:
        newest = progress.of(behind)
        owner = f", of {newest.url}," if newest is not None and newest.url else ""
        text = f"raw partition {behind}{owner} has not reported progress past the cut"
        return "peer_silent", text
    if owned.state.checkpoint.rekeyed_next < await owned.cuts.forwarded_end(cut_ms):
        text = f"forwarded events of partition {owned.number} are not folded past the cut"
        return "forwarded_behind", text
    if owned.shared.definitions.append_time_ms <= cut_ms:
        return "definitions_behind", "the definitions log has not passed the cut"
    return _to_be_shaped(owned, cut_ms)


def _to_be_shaped(owned: OwnedPartition, cut_ms: int) -> tuple[HeldBy, str] | None:
    """Return what the cells do not show yet and the cut has to show."""
    if owned.state.standing.holds_back(cut_ms):
        text = f"definitions behind: partition {owned.number} has yet to look at whom they concern"
        return "definitions_behind", text
    since_ms = owned.refold_queue.since_ms
    if since_ms is not None and since_ms <= cut_ms:
        text = f"partition {owned.number} is refolding for a definition or a correction"
        return "refolding", text
    return None


async def _take_cut(owned: OwnedPartition, cut_ms: int) -> None:
    """Close every subscription that is due, a bounded number of records a flush, then settle it."""
    members = owned.state.members
    members.keep_all()
    try:
        missing = await owned.work.run(CLOSING, members_wanted(owned.state, cut_ms))
        if missing:
            await owned.members.prefetch(missing)
        cut = _Cut(owned, cut_ms)
        owned.state.published.begin_cut(cut_ms)
        while not await owned.work.run(CLOSING, cut.until_full()):
            await owned.flush()
            failpoint("between-cut-flushes")
    finally:
        # A rebalance may end it; the partition may come back as it was.
        members.keep_few()
    await owned.work.run(CLOSING, settling(owned.state, cut_ms))
    owned.next_flush.note_moved()
    owned.cuts.forgetting.note_due(owned.cuts.schedule.take_closed(), cut_ms)
    await owned.work.run(CLOSING, owned.cuts.rescheduling())
    if owned.state.standing.looks:
        # A definition may have waited for this cut.
        owned.renewal.wanted.set()
    await owned.flush()


class _Half(NamedTuple):
    """A subscription that needs more steps than others, half closed."""

    name: SubscriptionKey
    records: Iterator[PublishedRecord | None]
    packed_bytes: int
    """Size of its cells as they were packed; 0: they were at hand."""


class _Cut:
    """One cut while it is taken: organizations take turns.

    Of one organization those with little to publish are done before those with much, as long as
    what these have fits into memory.
    """

    def __init__(self, owned: OwnedPartition, cut_ms: int):
        self._owned = owned
        self._cut_ms = cut_ms
        self._bytes = 0
        self._topics: dict[Topic, str] = {}
        """Full names of topics by those that everybody has."""
        self._steps = self._closing()

    def until_full(self) -> Steps[bool]:
        """Go on until a flush is full, or to the end: then True."""
        owned, self._bytes = self._owned, 0
        most = min(FLUSH_USAGE_RECORDS, owned.shared.settings.flush_max_changes)
        items = 0
        for taken in self._steps:
            if len(owned.next_flush.records) >= most or self._bytes >= FLUSH_BYTES:
                return False
            items += taken
            # To let others go on costs as much as a cell: those with few are closed together.
            if items >= OF_ORGANIZATION:
                yield
                items = 0
        return True

    def _closing(self) -> Iterator[int]:
        """Close all; yield how many items a step took."""
        state = self._owned.state
        for record in chain(instants_at(state, self._cut_ms), changed_at(state, self._cut_ms)):
            # No flush comes between what a step decides and what it says of it.
            self._put(record)
            if record is None:
                yield OF_ORGANIZATION
        # What was looked up for them is asked for no more.
        state.members.keep_few()
        # Something may have asked for a cut of further subscriptions meanwhile.
        while due := (yield from self._due()):
            turns = deque(map(self._closing_of_organization, due))
            while turns:
                organization, taken = turns.popleft(), 0
                for items in organization:
                    yield items
                    taken += items
                    if taken >= OF_ORGANIZATION:
                        turns.append(organization)
                        break

    def _due(self) -> Generator[int, None, list[array[int]]]:
        """Return whose cut it is, by organization, as numbers of the schedule."""
        schedule = self._owned.cuts.schedule
        found: dict[str, array[int]] = {}
        for count, number in enumerate(schedule.due(self._cut_ms), 1):
            organization_id, _ = schedule.named(number)
            found.setdefault(organization_id, array("I")).append(number)
            if count % OF_ORGANIZATION == 0:
                yield OF_ORGANIZATION
        return list(found.values())

    def _closing_of_organization(self, numbers: Iterable[int]) -> Iterator[int]:
        """Close subscriptions of one organization; yield how many items were taken."""
        state, schedule = self._owned.state, self._owned.cuts.schedule
        waiting, held_bytes = deque[_Half](), 0
        for number in numbers:
            name = schedule.named(number)
            at_hand = state.timelines.has(name)
            state.packing.as_packed.clear()
            records = closing(state, name, self._cut_ms)
            items, has_more = self._begin(records)
            if has_more:
                state.stale.half_closed.add(name)
                pieces = state.packing.as_packed.get(name, ())
                waiting.append(_Half(name, records, sum(len(piece) for _, piece in pieces)))
                held_bytes += waiting[-1].packed_bytes
            else:
                # Also one that was left half taken before.
                state.stale.half_closed.discard(name)
                known = let_go(state, name, self._cut_ms, was_at_hand=at_hand)
                schedule.note_known(number, known)
            failpoint("mid-close")
            yield items + 1
            while held_bytes > HALF_CLOSED_BYTES:
                held_bytes -= yield from self._going_on(waiting)
        while waiting:
            yield from self._going_on(waiting)

    def _begin(self, records: Iterator[PublishedRecord | None]) -> tuple[int, bool]:
        """Close a subscription in one go; return how many items it had, and if there may be more.

        Nobody else has a turn before it is let go, unless it has more.
        """
        items = 0
        for record in records:
            self._put(record)
            items += OF_A_STEP if record is None else 1
            if items >= AT_FIRST:
                return items, True
        return items, False

    def _going_on(self, waiting: deque[_Half]) -> Generator[int, None, int]:
        """Go on with the next one that waits; yield items, return how many bytes rest again."""
        packing, half, left = self._owned.state.packing, waiting.popleft(), AT_ONCE
        for record in islice(half.records, AT_ONCE):
            self._put(record)
            left -= 1
            yield OF_A_STEP if record is None else 1
        if not left:
            waiting.append(half)
            return 0
        self._owned.state.stale.half_closed.discard(half.name)
        if half.packed_bytes:
            for _ in packing.packing(half.name):
                yield OF_A_STEP
        return half.packed_bytes

    def _put(self, record: PublishedRecord | None) -> None:
        """Put a record into the next flush; None: a step without one."""
        if record is None:
            return
        owned, value, told, topic = self._owned, record.value, record.told, record.topic
        self._bytes += len(value)
        owned.shared.tally.note_published(told)
        name = self._topics.get(topic)
        if name is None:
            settings = owned.shared.settings
            known = settings.usage_records_topic if topic == USAGE_RECORDS else topic
            name = self._topics[topic] = settings.topic(known)
        owned.next_flush.records.append(
            Record(
                name,
                owned.number,
                record.key,
                value,
                identity=record.identity,
                kind=told.type,
                about=record.about,
            )
        )
