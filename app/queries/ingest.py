"""Check events and corrections, append them, and wait for what the fold makes of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from app.definitions.judging import Judging
from app.meter.errors import BeyondRetention
from app.meter.events import (
    Accepted,
    Duplicate,
    NotAppended,
    Pending,
    RawPosition,
    Refused,
    Verdict,
)
from app.queries.definer import take_quota
from app.queries.routing import Routing
from app.runtime.believed import append_believed
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.retained import reads_beyond_retention
from app.wire.arrivals import Arrival, CorrectionArrival, arrivals_of
from app.wire.encode import IncomingEvent, as_event, record_value
from app.wire.identity import event_id, same_body
from app.wire.keys import message_key
from app.wire.refusals import RefusalCode
from tables.event_index.entries import Entry

VERDICT_TIMEOUT_S = 0.5
REPORT_POLL_S = 0.05


class Ingest:
    """Appends to the raw topic in the name of whoever was let in."""

    def __init__(self, engine: Engine, routing: Routing):
        self._engine, self._routing = engine, routing
        self._append = partial(append_believed, engine.settings, engine.definitions, engine.append)

    @property
    def partitions(self) -> int:
        """How many partitions the raw topic has."""
        return self._engine.settings.raw_partitions

    async def check(
        self, organization_id: str, events: Sequence[IncomingEvent]
    ) -> list[Duplicate | Refused | None]:
        """Say what `append` would refuse of events at home here."""
        found = await self._objections(organization_id, dict(enumerate(events)))
        return [found[place] for place in range(len(events))]

    async def _objections(
        self, organization_id: str, events: Mapping[int, IncomingEvent]
    ) -> dict[int, Duplicate | None]:
        """Return what is against each event; those of a partition are looked up together."""
        by_home = defaultdict[int, dict[int, IncomingEvent]](dict)
        for place, event in events.items():
            home = self._engine.homes.of(organization_id, event.external_subscription_id)
            by_home[home][place] = event
        found: dict[int, Duplicate | None] = {}
        for some in by_home.values():
            first = next(iter(some.values()))
            owned = self._routing.at_home(organization_id, first.external_subscription_id)
            for place, entry in _entries(owned, organization_id, some).items():
                found[place] = await self._repeats(entry, organization_id, some[place])
        return found

    async def _repeats(
        self,
        entry: Entry | None,
        organization_id: str,
        incoming: IncomingEvent,
        position: RawPosition | None = None,
        index: int = 0,
    ) -> Duplicate | None:
        """Return what an event repeats; None: nothing, or it is itself the one that counts.

        `entry`: of its id. `position`: where it was appended, as the element of that `index`; None:
        it was not.
        """
        if entry is None:
            return None
        place = entry[1:4]
        if position is not None and place == (position.partition, position.offset, index):
            return None
        known = await self._engine.raw_lookup.find(*place)
        event = as_event(organization_id, incoming)
        identical = isinstance(known, Arrival) and same_body(known.event, event)
        return Duplicate("identical" if identical else "conflicting", position)

    async def append(
        self, organization_id: str, events: Sequence[IncomingEvent], partial: bool
    ) -> list[Verdict]:
        """Check, append as one record, wait for the fold's verdicts."""
        engine = self._engine
        homes = [engine.homes.of(organization_id, e.external_subscription_id) for e in events]
        here = {i: events[i] for i, home in enumerate(homes) if home in engine.owned}
        found = await self._objections(organization_id, here)
        objections = [found.get(i) for i in range(len(events))]
        if any(objections) and not partial:
            return [objection or NotAppended() for objection in objections]
        kept = [i for i, objection in enumerate(objections) if objection is None]
        if not kept:
            return [objection or NotAppended() for objection in objections]
        first = kept[0]
        key = message_key(organization_id, events[first].external_subscription_id)
        value = record_value(organization_id, [events[i] for i in kept], engine.clock.now_ms())
        sent = await self._append(organization_id, key, value, homes[first])
        position = RawPosition(homes[first], sent.offset, sent.timestamp)
        folded = await self._raw_folded(homes[first], sent.offset, VERDICT_TIMEOUT_S)
        verdicts: list[Verdict] = [o or Pending(position) for o in objections]
        owned = engine.owned.get(homes[first]) if folded else None
        if owned is not None:
            elements = {n: events[i] for n, i in enumerate(kept) if homes[i] == homes[first]}
            told = await self._verdicts(owned, organization_id, elements, position)
            for index, verdict in told.items():
                verdicts[kept[index]] = verdict
        return verdicts

    async def _verdicts(
        self,
        owned: OwnedPartition,
        organization_id: str,
        elements: Mapping[int, IncomingEvent],
        position: RawPosition,
    ) -> dict[int, Verdict]:
        """Return what the fold made of elements, by index, of a record that it has folded."""
        verdicts: dict[int, Verdict] = {}
        for index, entry in _entries(owned, organization_id, elements).items():
            known = owned.verdicts.get((position.offset, index))
            if known is not None and known.code != RefusalCode.CONFLICTING_DUPLICATE:
                verdicts[index] = Refused(known.code, known.message, position)
                continue
            # By the index: the fold judges what repeats another event with the next flush only.
            incoming = elements[index]
            repeats = await self._repeats(entry, organization_id, incoming, position, index)
            verdicts[index] = repeats or Accepted(position)
        return verdicts

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes, by: str | None
    ) -> RawPosition:
        """Append a correction at the home of its event.

        Raises:
            TooOften: the organization has sent its corrections of this minute.
        """
        engine = self._engine
        take_quota(engine, organization_id, "corrections")
        home = engine.homes.of(organization_id, external_subscription_id)
        owned = engine.owned.get(home)
        if owned is not None:
            await self._require_events(owned, organization_id, value)
        key = message_key(organization_id, external_subscription_id)
        sent = await self._append(organization_id, key, value, home, granted_by=by)
        await self._raw_folded(home, sent.offset, VERDICT_TIMEOUT_S)
        return RawPosition(home, sent.offset, sent.timestamp)

    async def _require_events(
        self, owned: OwnedPartition, organization_id: str, value: bytes
    ) -> None:
        """Raise BeyondRetention if a correction needs events that are deleted."""
        judging = Judging(organization_id)
        for each in arrivals_of(value, (), self._engine.clock.now_ms(), owned.number, 0, judging):
            if isinstance(each, CorrectionArrival) and await reads_beyond_retention(owned, each):
                raise BeyondRetention("events that the correction needs are deleted")

    async def wait_for(
        self,
        organization_id: str,
        external_subscription_id: str,
        partition: int,
        offset: int,
        timeout_s: float,
    ) -> bool:
        """Wait until what a raw record holds of a subscription at home here is folded.

        For a record on another partition wait until its owner reports it: all that it forwarded is
        acknowledged by then. Then wait for the forwarded events that are there.
        """
        owned = self._routing.at_home(organization_id, external_subscription_id)
        if owned.number == partition:
            return await self._raw_folded(partition, offset, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_reported(partition, offset):
                    await asyncio.sleep(REPORT_POLL_S)
                end = await self._engine.offsets.rekeyed_end(owned.number)
                async with owned.advanced:
                    await owned.advanced.wait_for(
                        lambda: owned.state.checkpoint.rekeyed_next >= end
                    )
        except TimeoutError:
            return False
        return True

    def _is_reported(self, partition: int, offset: int) -> bool:
        progress = self._engine.progress.of(partition)
        return progress is not None and progress.raw_next > offset

    async def _raw_folded(self, partition: int, offset: int, timeout_s: float) -> bool:
        """Wait until a raw partition owned here is folded through an offset, inclusive."""
        owned = self._engine.owned.get(partition)
        if owned is None:
            return False
        try:
            async with asyncio.timeout(timeout_s), owned.advanced:
                await owned.advanced.wait_for(lambda: owned.state.checkpoint.raw_next > offset)
        except TimeoutError:
            return False
        return True


def _entries(
    owned: OwnedPartition, organization_id: str, events: Mapping[int, IncomingEvent]
) -> dict[int, Entry | None]:
    """Return what a partition's index has of the ids of events."""
    ids = [
        event_id(organization_id, event.external_subscription_id, event.transaction_id)
        for event in events.values()
    ]
    return dict(zip(events, owned.state.index.find_many(ids), strict=True))
