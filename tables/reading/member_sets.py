"""Sets of members against those of a refold. Pure.

Members answer what the next event of a property changes, so a wrong one shows in no figure before
that. Verification compares them all: those at hand in the partition, and those in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from app.billing_periods.instants import iso_seconds
from app.meter.evidence import Difference
from app.wire.arrivals import MeterKey
from tables.cells.cell import Span
from tables.cells.forgotten import has_forgotten, is_over, remembered
from tables.cells.keys import SpanSetKey
from tables.changelogged.members import AtHand, SetKey, unpack_member
from tables.changelogged.operations import Row, row_of
from tables.partition.partition import Partition
from tables.partition.refold import Refold
from tables.unique_count import Member, UniqueCount

_NAMED = 5
"""Properties that a difference names."""


class MemberSet(NamedTuple):
    """One set of a live partition, and what it must hold."""

    meter_key: MeterKey
    span: Span
    name: SpanSetKey
    key: SetKey
    expected: Mapping[str, Member]
    rows: Mapping[str, list[Row]]
    """Operations in rows of their own, by property text; those that it must have."""
    wanted_rows: Mapping[str, list[Row]]

    def difference(
        self, number: int, stored: Mapping[str, bytes], at_hand: AtHand, next_cut_ms: int
    ) -> Difference | None:
        """Return what is kept otherwise; None if nothing is.

        `at_hand`: of this set, as it was before `stored` was read. What the next cut shows need not
        be kept apart.
        """
        aggregation: UniqueCount = self.span.fold.aggregation  # type: ignore[assignment]

        def standing(member: Member, *, whole: bool) -> Member:
            reduced = aggregation.reduced(member, whole=whole)
            settled = aggregation.settled(reduced, next_cut_ms, whole=whole)
            return remembered(self.span, settled)

        def differs(text: str, member: Member) -> bool:
            wanted = self.expected.get(text, ())
            apart = text in self.rows or text in self.wanted_rows
            if apart and self._rows_of(text, member) != self.wanted_rows.get(text):
                return True
            whole = self.span.fold.in_advance and not apart
            return member != wanted and standing(member, whole=whole) != standing(
                wanted, whole=whole
            )

        kept = {text: unpack_member(packed) for text, packed in stored.items()}
        kept |= {text: member for text, (member, pending) in at_hand.items() if pending}
        found = {text: kept.get(text, ()) for text in self.expected.keys() | kept.keys()}
        wrong = {text: member for text, member in found.items() if differs(text, member)}
        wrong |= {text: member for text, (member, _) in at_hand.items() if differs(text, member)}
        if not wrong:
            return None
        filter_id, groups, start_ms = self.name
        named = sorted(wrong)[:_NAMED]
        return Difference(
            kind="members",
            partition=number,
            external_subscription_id=self.meter_key[1],
            metric_code=self.meter_key[2],
            period_from=None if start_ms is None or start_ms < 0 else iso_seconds(start_ms),
            charge_id=self.span.key.charge_id,
            filter_id=filter_id,
            groups=groups,
            live={"members": str(len(kept)), "differing": str(len(wrong))}
            | {f'"{text}"': _shown(wrong[text]) for text in named},
            refolded={"members": str(len(self.expected)), "differing": "0"}
            | {f'"{text}"': _shown(self.expected.get(text, ())) for text in named},
        )

    def _rows_of(self, text: str, member: Member) -> list[Row]:
        """Return the rows of a property; an older program kept all operations in the member."""
        rows = self.rows.get(text)
        return sorted(map(row_of, member)) if rows is None else rows


def _shown(member: Member) -> str:
    """Return operations in event-time order."""
    return " ".join(f"{'+' if o.adds else '-'}{o.timestamp_ms}" for o in member) or "none"


def _is_forgotten(span: Span, name: SpanSetKey) -> bool:
    """Return whether members of a set are forgotten; a few of them may still be there."""
    start_ms = name[2]
    if start_ms is None:
        return is_over(span)
    period = span.timeline.holding(start_ms)
    return period is not None and has_forgotten(span, period)


def member_sets(
    partition: Partition, refold: Refold, meter_keys: Iterable[MeterKey]
) -> Iterator[MemberSet]:
    """Yield every set of the meter keys' unique counts that either side has."""
    spans = [
        (meter_key, span)
        for meter_key in meter_keys
        for span in refold.routes[meter_key].spans
        if span.fold.unique
    ]
    expected = refold.members.at_hand({key for _, span in spans for key in span.sets.values()})
    for meter_key, shadow in spans:
        live = next(
            (s for s in partition.views.route_of(meter_key).spans if s.key == shadow.key), None
        )
        if live is None:
            continue
        for name in {**live.all_sets(), **shadow.sets}:
            if _is_forgotten(live, name):
                continue
            shadow_key, key = shadow.sets.get(name, b""), live.set_named(name)
            found = expected.get(shadow_key, {})
            yield MemberSet(
                meter_key,
                live,
                name,
                key,
                {t: m for t, (m, _) in found.items() if m},
                partition.members.operations.of_set(key),
                refold.members.operations.of_set(shadow_key),
            )
