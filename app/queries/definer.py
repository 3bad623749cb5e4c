"""Decide, append and await changes of the definitions."""

from __future__ import annotations

import asyncio
import logging

from app.bounds.limits import LISTED_CHANGES
from app.bounds.quotas import Counted
from app.bounds.turns import Steps, Work
from app.definitions.charge_terms import refused_terms
from app.definitions.command import MAX_COMMAND_BYTES, Command, UnreadableCommand
from app.definitions.decision import Decision
from app.definitions.log import applying, deciding
from app.definitions.outcome import Applied, Impact, Rejected, cannot_be_applied, too_large
from app.definitions.quotas import counted_as, elapsed_charges, over_quota
from app.definitions.sizes import outgrown, oversized
from app.definitions.state import Definitions
from app.kafka.asked import asked
from app.kafka.log_readers import LogRecord
from app.kafka.names import KafkaError
from app.kafka.topics import METER_DEFINITIONS
from app.log import facts
from app.meter.changes import DefinitionChange
from app.meter.errors import BeyondRetention, TooOften, Unavailable
from app.queries.undisturbed import undisturbed
from app.runtime.engine import Engine
from tables.partition.retained import may_need, needs_deleted

log = logging.getLogger(__name__)

APPLY_TIMEOUT_S = 10.0


class Definer:
    """Appends commands; answers when they are applied here."""

    def __init__(self, engine: Engine):
        self._engine = engine

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until it is applied here.

        What is refused, or changes nothing, is answered without being appended: once it is certain,
        for the log may hold what this worker has not applied yet.

        Raises:
            TooOften: a quota by the minute or by the day is used up.
            BeyondRetention: events that it sends elsewhere are deleted, as far as is known here.
        """
        work = Work("request", "define", command.organization_id)
        encoded = await self._engine.shared.turns.run(work, _encoding(command))
        if isinstance(encoded, Rejected):
            return encoded
        command, value = encoded
        decision = await self._decided(command)
        if isinstance(decision, Rejected) or not decision.changes:
            await self._definitions_read()
            decision = await self._decided(command)
        if isinstance(decision, Rejected):
            return decision
        if not decision.changes:
            return Applied(command.type, decision.object, None)
        refused = await self._over_quota(command, decision)
        if refused is not None:
            return refused
        if decision.impact is not None:
            await self._require_retained(command, decision.impact)
        outcome = await self._appended(value)
        if isinstance(outcome, Applied):
            named, key = _object_of(command) or command.organization_id, command.changed_by or ""
            log.info(
                "Definition: %s %s",
                command.type,
                named,
                extra=facts("definition", key=key, what=command.type, object=named),
            )
        return outcome

    async def _require_retained(self, command: Command, impact: Impact) -> None:
        """Raise BeyondRetention if partitions that are here lack events that it needs."""
        engine = self._engine
        work = Work("request", "define", command.organization_id)

        def applied() -> Steps[Definitions]:
            branch = engine.definitions.copy()
            now_ms = engine.clock.now_ms()
            yield from applying(branch, command.encode(), now_ms, branch.offset)
            return branch

        def after() -> Steps[Definitions]:
            return undisturbed(engine.definitions, applied)

        if engine.brokers.away_since_s is not None:
            raise Unavailable("Kafka does not answer")
        home = engine.homes.of_impact(impact)
        numbers = engine.owned.keys() if home is None else engine.owned.keys() & {home}
        owned = {n: engine.owned[n] for n in numbers if may_need(engine.owned[n].state, impact)}
        if not owned:
            # As of most subscriptions that are created: the brokers are not asked.
            return
        async with asked():
            kept = await engine.offsets.kept_of(owned)
        for number, left in kept.items():
            if left.raw_start or left.rekeyed_start:
                needed = needs_deleted(owned[number].state, impact, after, left)
                if await engine.shared.turns.run(work, needed):
                    raise BeyondRetention("events that the definition needs are deleted")

    async def _decided(self, command: Command) -> Decision | Rejected:
        """Try a command in a turn of its own; return what it would come to."""
        work = Work("request", "define", command.organization_id)
        return await self._engine.shared.turns.run(work, self._deciding(command))

    def _deciding(self, command: Command) -> Steps[Decision | Rejected]:
        yield
        engine = self._engine
        return (yield from deciding(engine.definitions, command, engine.clock.now_ms()))

    async def _over_quota(self, command: Command, decision: Decision) -> Rejected | None:
        organization_id = command.organization_id
        work = Work("request", "define", organization_id)
        counting = self._counting(command, decision)
        refused, elapsed = await self._engine.shared.turns.run(work, counting)
        if refused is not None:
            return refused
        take_quota(self._engine, organization_id, counted_as(command.type))
        take_quota(self._engine, organization_id, "elapsed", elapsed)
        return None

    def _counting(self, command: Command, decision: Decision) -> Steps[tuple[Rejected | None, int]]:
        """Return why it is refused, and the number of elapsed periods that it takes."""
        definitions, quotas = self._engine.definitions, self._engine.settings.quotas
        elapsed = yield from elapsed_charges(definitions, decision, self._engine.clock.now_ms())
        refused = outgrown(command, decision) or refused_terms(definitions, decision.changes)
        if refused is None:
            refused = yield from over_quota(definitions, decision, elapsed, quotas)
        return refused, elapsed

    async def _definitions_read(self) -> None:
        """Apply the definitions log to the end that it has now."""
        shared = self._engine.shared
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_S):
                await shared.followed.caught_up()
        except (TimeoutError, KafkaError) as error:
            raise Unavailable("the definitions log does not answer") from error

    async def _appended(self, value: bytes) -> Applied | Rejected:
        engine = self._engine
        topic = engine.settings.topic(METER_DEFINITIONS)
        outcome: asyncio.Future[Applied | Rejected] = asyncio.get_running_loop().create_future()
        engine.followed.awaited[value] = outcome
        try:
            await asyncio.wait_for(engine.append(topic, None, value, 0), APPLY_TIMEOUT_S)
            return await asyncio.wait_for(outcome, APPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable("the definitions log does not answer") from error
        finally:
            engine.followed.awaited.pop(value, None)

    async def changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        """Read from the log when it is asked for: nothing of it is kept for this."""
        engine = self._engine
        offsets = engine.definitions.record_offsets(since, LISTED_CHANGES)
        topic = engine.settings.topic(METER_DEFINITIONS)
        records = await engine.raw_records.read_many(topic, 0, offsets)
        found = [_change(offset, record) for offset, record in sorted(records.items())]
        listed = [
            each
            for each in found
            if each is not None and organization_id in (None, each.organization_id)
        ]
        return listed, offsets[-1] + 1 if offsets else since


def take_quota(
    engine: Engine, organization_id: str, counted: Counted | None, amount: int = 1
) -> None:
    """Take from what an organization may do in a minute or day. Raises TooOften."""
    if counted is None:
        return
    most = engine.settings.quotas.most(counted)
    wait_s = engine.taken.take(organization_id, counted, most, engine.clock.now_ms(), amount)
    if wait_s:
        raise TooOften(wait_s)


def _encoding(command: Command) -> Steps[tuple[Command, bytes] | Rejected]:
    """Return a command as workers will read it, and its bytes; or why it is not appended."""
    yield
    value = command.encode()
    if len(value) > MAX_COMMAND_BYTES:
        return too_large(MAX_COMMAND_BYTES)
    yield
    try:
        command = Command.decode(value)
    except UnreadableCommand:
        return cannot_be_applied()
    yield
    return oversized(command) or (command, value)


def _change(offset: int, record: LogRecord) -> DefinitionChange | None:
    try:
        command = Command.decode(record.value or b"")
    except UnreadableCommand:
        return None
    return DefinitionChange(
        offset=offset,
        append_time_ms=record.timestamp_ms,
        organization_id=command.organization_id,
        type=command.type,
        object=_object_of(command),
        changed_by=command.changed_by,
    )


def _object_of(command: Command) -> str | None:
    """Return the code or external id of what a command is about."""
    bodies = (command.payload, *command.payload.values())
    names = (
        body[key]
        for body in bodies
        if isinstance(body, dict)
        for key in ("code", "external_id")
        if isinstance(body.get(key), str)
    )
    return next(names, None)
