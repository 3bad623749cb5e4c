"""The definitions log followed: applied record by record, and told from where the group is on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from app.bounds.turns import STEP_ITEMS, Steps, Turns, Work
from app.definitions.command import Command, UnreadableCommand
from app.definitions.decision import Change, Decision
from app.definitions.log import applying, deciding
from app.definitions.model import Subscription
from app.definitions.state import Definitions
from app.kafka.log_readers import LogReader, LogRecord
from app.kafka.topics import METER_DEFINITIONS
from app.settings import Settings
from app.webhooks.instants import Agenda, instants_of
from app.webhooks.message import Message
from app.webhooks.telling import ToldObject, instant_messages, messages, told_of

_DEFINING: Final = Work("define", "definitions")
_POLL_S: Final = 0.05


class _Decided(NamedTuple):
    """What a record comes to that is applied next."""

    command_id: str
    told: list[ToldObject]
    subscriptions: list[tuple[Subscription | None, Subscription]]
    """All that it changes, before and after, also those of which nothing is told yet."""


class FollowedDefinitions:
    """The definitions as they stand, and messages of what changes them."""

    def __init__(
        self,
        settings: Settings,
        tell_from: int,
        told_until_ms: int,
        turns: Turns,
        tell: Callable[[int, Iterable[Message | None]], Awaitable[None]],
    ):
        """Tell of records from the offset `tell_from` on, and of instants after `told_until_ms`."""
        self.definitions = Definitions()
        self.agenda = Agenda(self.definitions)
        self.told_until_ms = told_until_ms
        """Instants up to here have been taken from the agenda."""
        self.ready = asyncio.Event()
        """Set once everything is applied that the group is done with."""
        self._log = LogReader(settings, settings.topic(METER_DEFINITIONS))
        self._applying = asyncio.Lock()
        self._turns = turns
        self._tell_from = tell_from
        self._tell = tell

    async def follow(self) -> None:
        """Apply the log as it grows, until cancelled."""
        getting_ready = asyncio.create_task(self._ready_at_the_end())
        try:
            async for batch in self._log.batches():
                for record in batch:
                    async with self._applying:
                        if record.offset >= self._tell_from:
                            await self._get_ready()
                        await self._take(record)
        finally:
            getting_ready.cancel()

    async def caught_up(self) -> None:
        """Wait until all is applied and told that the log had at the start."""
        await self._log.caught_up.wait()
        await self.ready.wait()

    async def stop(self) -> None:
        """Close the connection."""
        await self._log.stop()

    async def applied_to(self, offset: int) -> None:
        """Wait until all is applied that lies before an offset."""
        while self._log.next < offset or not self.ready.is_set():
            await asyncio.sleep(_POLL_S)

    async def _ready_at_the_end(self) -> None:
        """Be ready also where the log ends before the offset that is told from."""
        await self._log.caught_up.wait()
        async with self._applying:
            await self._get_ready()

    async def _get_ready(self) -> None:
        if not self.ready.is_set():
            await self._turns.run(_DEFINING, self.agenda.fill(self.told_until_ms))
            self.ready.set()

    async def _take(self, record: LogRecord) -> None:
        definitions = self.definitions
        decided = None
        if record.offset >= self._tell_from:
            decided = await self._turns.run(_DEFINING, self._decided(record))
        steps = applying(definitions, record.value, record.timestamp_ms, record.offset)
        await self._turns.run(_DEFINING, steps)
        if record.offset >= self._tell_from:
            await self._tell(record.offset, () if decided is None else self._messages(decided))

    def _messages(self, decided: _Decided) -> Iterator[Message | None]:
        """Yield what a record is told as, once it is applied; None: a step."""
        at_ms = self.definitions.append_time_ms
        yield from messages(self.definitions, decided.told, decided.command_id, at_ms)
        yield from self._later(decided.subscriptions, at_ms)

    def _decided(self, record: LogRecord) -> Steps[_Decided | None]:
        """Decide a record that is applied next; None: it changes nothing."""
        if record.value is None:
            return None
        try:
            command = Command.decode(record.value)
        except UnreadableCommand:
            return None
        decision = yield from deciding(self.definitions, command, record.timestamp_ms)
        if not isinstance(decision, Decision):
            return None
        at_ms = max(self.definitions.append_time_ms, record.timestamp_ms)
        told = yield from told_of(self.definitions, decision.changes, at_ms)
        changed = yield from self._changed(decision.changes)
        return _Decided(command.id, told, changed)

    def _changed(
        self, changes: Iterable[Change]
    ) -> Steps[list[tuple[Subscription | None, Subscription]]]:
        """Return the subscriptions among changes, as they were and as they will be."""
        found: list[tuple[Subscription | None, Subscription]] = []
        for count, change in enumerate(changes, 1):
            if isinstance(change, Subscription):
                found.append((self.definitions.subscription_by_id(change.id), change))
            if count % STEP_ITEMS == 0:
                yield
        return found

    def _later(
        self, changed: Sequence[tuple[Subscription | None, Subscription]], append_time_ms: int
    ) -> Iterator[Message | None]:
        """Note what happens later to what changed; yield what came about before it was known."""
        for before, subscription in changed:
            noted = () if before is None else tuple(instants_of(before))
            for instant in instants_of(subscription):
                if instant.at_ms <= append_time_ms:
                    # The record itself is told as that.
                    continue
                if instant.at_ms <= self.told_until_ms:
                    yield from instant_messages(self.definitions, (instant,), self.told_until_ms)
                elif instant not in noted:
                    self.agenda.note(instant)
            yield None
