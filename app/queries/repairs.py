"""Set records aside that cannot be folded, and append anew what was kept from counting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from app.definitions import commands
from app.definitions.model import SetAside
from app.kafka.log_readers import LogRecord, RecordsDeleted
from app.kafka.names import KafkaError
from app.kafka.transactions import Fenced
from app.meter.errors import Unavailable
from app.meter.events import RawPosition
from app.meter.overview import (
    DeadLetter,
    DeadLetterPage,
    DeadLetterQuery,
    DeadLetterView,
    Replayed,
)
from app.queries.definer import APPLY_TIMEOUT_S, Definer
from app.queries.letters import letters_before, letters_since
from app.runtime.believed import append_believed
from app.runtime.dead_letters import OWN_PREFIX, StandsFor, dead_letter_view, organization_of
from app.runtime.engine import Engine
from app.runtime.set_aside import append_again, set_aside
from app.wire.arrivals import ADMIT_HEADER
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.refusals import RefusalCode


class Repairs:
    """Does what an operator asks about single records of the raw topic and dead letters."""

    def __init__(self, engine: Engine, definer: Definer):
        self._engine, self._definer = engine, definer
        self._append = partial(append_believed, engine.settings, engine.definitions, engine.append)

    async def set_aside(
        self, partition: int, first: int, after: int, reason: str
    ) -> list[SetAside]:
        """Append set_aside records under the fence of the partition, and wait for them here."""
        engine = self._engine
        settings = engine.settings
        try:
            made = await set_aside(
                settings,
                engine.definitions,
                partition,
                first,
                after,
                code=RefusalCode.SET_ASIDE,
                message=reason,
                timestamp_ms=engine.clock.now_ms() if settings.test_clock else None,
            )
        except (KafkaError, Fenced) as error:
            raise Unavailable(f"partition {partition} is not to be had: {error}") from error
        asides = engine.definitions.set_asides
        try:
            async with engine.followed.changed:
                await asyncio.wait_for(
                    engine.followed.changed.wait_for(
                        lambda: all(asides.find(command.id) is not None for command in made)
                    ),
                    APPLY_TIMEOUT_S,
                )
        except TimeoutError as error:
            raise Unavailable("the definitions log does not answer") from error
        return [one for one in asides.listed() if one.id in {command.id for command in made}]

    async def lift(self, one: SetAside) -> int:
        """Append what is set aside anew, then take it off the list."""
        engine = self._engine
        appended = await append_again(engine.settings, engine.definitions, one, engine.append)
        await self._definer.define(commands.lift(one.id))
        return appended

    async def replay(
        self, organization_id: str | None, partition: int, offset: int, by: str | None
    ) -> Replayed | None:
        """Append a dead letter's value anew, admitted."""
        engine = self._engine
        record = await self._letter(organization_id, partition, offset)
        if record is None:
            return None
        kept = [header for header in record.headers if not header[0].startswith(OWN_PREFIX)]
        headers = [*kept, (ADMIT_HEADER, b"true"), StandsFor.of(record, partition).header]
        home = partition
        for _, decoded in decode_record(record.value, kept):
            if isinstance(decoded, Event):
                default = engine.definitions.settings_at().default_organization_id
                owner = decoded.organization_id or default or ""
                home = engine.homes.of(owner, decoded.external_subscription_id)
        whose = organization_of(record)
        sent = await self._append(whose, record.key, record.value, home, headers, granted_by=by)
        position = RawPosition(sent.partition, sent.offset, sent.timestamp)
        return Replayed(_letter_of(record, partition), position)

    async def dead_letter(
        self, organization_id: str | None, partition: int, offset: int
    ) -> DeadLetter | None:
        """Return a dead letter as its topic has it."""
        record = await self._letter(organization_id, partition, offset)
        return None if record is None else _letter_of(record, partition)

    def dead_letters(self, organization_id: str | None) -> list[DeadLetterView]:
        """Return the newest dead letters that this worker has read, newest first."""
        self._engine.status.output_looked_at.set()
        return [
            letter
            for letter in reversed(self._engine.status.dead_letters)
            if organization_id in (None, letter.organization_id)
        ]

    async def letters_before(self, query: DeadLetterQuery) -> DeadLetterPage:
        """Return a page of what the topic has."""
        with _letters_read():
            return await letters_before(self._engine.settings, self._engine.shared.turns, query)

    async def letters_since(
        self, organization_id: str | None, since: Mapping[int, int] | None
    ) -> tuple[list[DeadLetterView], Mapping[int, int]]:
        """Return dead letters from these offsets on, and where to go on."""
        engine = self._engine
        with _letters_read():
            return await letters_since(engine.settings, engine.shared.turns, organization_id, since)

    async def _letter(
        self, organization_id: str | None, partition: int, offset: int
    ) -> LogRecord | None:
        """Read a record of the topic; None: there is none, or it is another organization's."""
        engine = self._engine
        if not 0 <= partition < engine.settings.raw_partitions or offset < 0:
            return None
        topic = engine.settings.topic(engine.settings.dead_letter_topic)
        record = await engine.raw_records.read(topic, partition, offset)
        if record is None or organization_id not in (None, organization_of(record)):
            return None
        return record


def _letter_of(record: LogRecord, partition: int) -> DeadLetter:
    return DeadLetter(
        view=dead_letter_view(record, partition),
        key=record.key,
        headers=tuple((name, text or b"") for name, text in record.headers),
        value=record.value or b"",
    )


@contextmanager
def _letters_read() -> Iterator[None]:
    try:
        yield
    except (KafkaError, RecordsDeleted) as error:
        raise Unavailable(f"dead letters cannot be read now: {error}") from error
