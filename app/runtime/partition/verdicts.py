"""What became of arrivals: dead letters of the next flush, and verdicts for whoever posted one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from app.bounds.turns import Steps
from app.definitions.judging import Judging
from app.failpoints import failpoint
from app.kafka.open_batch import UnreadBatch
from app.kafka.record_batch import RawRecord
from app.runtime.context import WorkerContext
from app.runtime.dead_letters import Source, dead_letters, source_of
from app.runtime.partition.next_flush import NextFlush
from app.runtime.raw_lookup import RawPlace
from app.wire.arrivals import REPLAYED_HEADER, Arrival, ReplayedArrival
from app.wire.decode import envelope_headers
from app.wire.keys import message_key
from app.wire.refusals import Refusal, RefusalCode
from tables.partition.intake import RefusedArrival

REMEMBERED = 20_000


class FoldVerdict(NamedTuple):
    """Why an arrival was refused."""

    code: RefusalCode
    message: str


class Verdicts:
    """Verdicts on arrivals at one partition."""

    def __init__(self, number: int, context: WorkerContext, next_flush: NextFlush):
        self._number = number
        self._context = context
        self._next_flush = next_flush
        self.known: OrderedDict[tuple[int, int], FoldVerdict] = OrderedDict()
        """By raw offset and array index, the last ones only."""

    def get(self, at: tuple[int, int]) -> FoldVerdict | None:
        """Return why an element of a raw record was refused; None: it was not, or long ago."""
        return self.known.get(at)

    def _remember(self, place: RawPlace, verdict: FoldVerdict) -> None:
        number, offset, index = place
        if number != self._number:
            # Nobody waits here for what was forwarded; an event of ours may have that offset.
            return
        self.known[offset, index] = verdict
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)

    def refuse(self, refused: Iterable[tuple[Refusal, Source]]) -> None:
        """Put what is refused into the next flush."""
        records: dict[tuple[object, ...], tuple[Source, list[Refusal]]] = {}
        for refusal, source in refused:
            name = (*source[:3], source.organization_id)
            records.setdefault(name, (source, []))[1].append(refusal)
        for source, refusals in records.values():
            self._refuse_of(source, refusals)

    def _refuse_of(self, source: Source, refusals: Sequence[Refusal]) -> None:
        """Put what is refused of one record into the next flush."""
        context, settings = self._context, self._context.settings
        context.tally.refused.update([refusal.code for refusal in refusals])
        # Whoever posts events waits for no record of more.
        if len(refusals) <= settings.max_batch and source.topic == settings.topic(
            settings.raw_topic
        ):
            for refusal in refusals:
                verdict = FoldVerdict(refusal.code, refusal.message)
                self._remember((source.partition, source.offset, refusal.index), verdict)
        topic, now_ms = settings.topic(settings.dead_letter_topic), context.clock.now_ms()
        self._next_flush.add(dead_letters(topic, self._number, refusals, source, now_ms))
        failpoint("mid-dead-letters")

    def refuse_arrivals(self, refused: Iterable[RefusedArrival]) -> None:
        """Refuse events that are not taken, or turned out not to be."""
        self.refuse(self.letter_of(arrival, code, message) for arrival, code, message in refused)

    def refusing_raw(
        self, refused: Sequence[tuple[Refusal, RawRecord | UnreadBatch]]
    ) -> Steps[None]:
        """Refuse what records of the raw topic hold, in their order, a record at a step."""
        topic = self._context.settings.topic(self._context.settings.raw_topic)
        judging = Judging.by(self._context.definitions)
        for _, together in groupby(refused, key=_offset_of):
            refusals, records = zip(*together, strict=True)
            self._refuse_of(source_of(topic, self._number, records[0], judging), refusals)
            yield

    def letter_of(
        self, arrival: Arrival, code: RefusalCode, message: str
    ) -> tuple[Refusal, Source]:
        """Return the refusal of an event and the raw record that it came from."""
        settings, event = self._context.settings, arrival.event
        headers = envelope_headers(event.envelope)
        if isinstance(arrival, ReplayedArrival):
            headers.append((REPLAYED_HEADER, arrival.replayed))
        source = Source(
            settings.topic(settings.raw_topic),
            arrival.raw_partition,
            arrival.raw_offset,
            message_key(arrival.organization_id, event.external_subscription_id),
            headers,
            arrival.organization_id,
        )
        return Refusal(code, message, event.body, arrival.array_index), source


def _offset_of(refused: tuple[Refusal, RawRecord | UnreadBatch]) -> int:
    return refused[1].offset
