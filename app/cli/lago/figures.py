"""Usage as figures that can be compared: charge by charge, filter by filter, group by group."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from app.cli.remote import Json
from app.numbers import exact_sum, plain

DEFAULT: Final = "everything else"
_CLEAR: Final = re.compile(r'[^,=|()"]+')
_FIELDS: Final = ("units", "total_aggregated_units", "events_count")


class SideFigures(NamedTuple):
    """What one cell shows; None: this side does not say it."""

    units: Decimal
    total_aggregated_units: Decimal | None
    events_count: Decimal | None

    def plus(self, other: SideFigures) -> SideFigures:
        """Return the sum of both."""
        return SideFigures(*(_sum(one, two) for one, two in zip(self, other, strict=True)))


NOTHING: Final = SideFigures(Decimal(0), Decimal(0), Decimal(0))
Part = tuple[str, str]
"""Group and filter as texts; empty where there is none."""
WHOLE: Final[Part] = ("", "")


class ChargeFigures(NamedTuple):
    """One charge, and what each part of it shows."""

    code: str
    """Empty in old versions of Lago."""
    lago_id: str
    charge_model: str
    metric: str
    aggregation_type: str
    parts: Mapping[Part, SideFigures]
    revision: int
    """The newest that we have published of it; 0 also where there is none."""

    @property
    def name(self) -> str:
        """What the charge is called."""
        return f"{self.code} ({self.metric})" if self.code else self.metric


class PeriodFigures(NamedTuple):
    """One period of a subscription."""

    starts: str
    ends: str
    state: str | None
    """How far an ended period of ours has come."""
    charges: tuple[ChargeFigures, ...]


class FigureDifference(NamedTuple):
    """A figure that Lago and we show differently, or a charge or period that only one has."""

    period: str
    charge: ChargeFigures | None
    part: Part
    field: str
    lago: str
    here: str


def period_of(usage: Json) -> PeriodFigures:
    """Return the figures of one period as the API shows it."""
    return PeriodFigures(
        instant(usage["from_datetime"]),
        instant(usage["to_datetime"]),
        usage.get("state"),
        tuple(_charge(each) for each in usage["charges_usage"]),
    )


def _charge(usage: Json) -> ChargeFigures:
    parts: dict[Part, SideFigures] = {}
    for part, figures in _parts(usage):
        parts[part] = parts[part].plus(figures) if part in parts else figures
    charge, metric = usage["charge"], usage["billable_metric"]
    return ChargeFigures(
        str(charge.get("code") or ""),
        str(charge.get("lago_id")),
        str(charge.get("charge_model")),
        str(metric["code"]),
        str(metric.get("aggregation_type")),
        parts,
        int((usage.get("published") or {}).get("revision") or 0),
    )


def _parts(usage: Json) -> Iterator[tuple[Part, SideFigures]]:
    yield WHOLE, _figures(usage)
    for bucket in usage.get("filters") or ():
        yield ("", _bucket(bucket)), _figures(bucket)
    for group in usage.get("grouped_usage") or ():
        name = _group(group.get("grouped_by") or {})
        yield (name, ""), _figures(group)
        for bucket in group.get("filters") or ():
            yield (name, _bucket(bucket)), _figures(bucket)


def _figures(usage: Json) -> SideFigures:
    _, *others = (usage.get(name) for name in _FIELDS)
    # Units that are not said are no 0.
    return SideFigures(Decimal(str(usage["units"])), *(_decimal(other) for other in others))


def compared(
    lago: Sequence[PeriodFigures], here: Sequence[PeriodFigures], past: bool
) -> list[FigureDifference]:
    """Return everything that differs. What only one side shows as nothing is no difference."""
    found: list[FigureDifference] = []
    ours = list(here)
    for period in lago:
        # Of two that begin at once, as one of them ends at its first instant, both are looked at.
        those = [each for each in ours if each.starts == period.starts]
        if not those:
            found.append(
                FigureDifference(period.starts, None, WHOLE, "period", period.ends, "none")
            )
            continue
        known = next((each for each in those if each.ends == period.ends), those[0])
        ours.remove(known)
        if known.ends != period.ends:
            found.append(
                FigureDifference(period.starts, None, WHOLE, "end", period.ends, known.ends)
            )
        found += _of_period(period, known, past)
    # Lago's list of ended periods may begin later than ours; periods of a pair must not.
    return found + [
        FigureDifference(each.starts, None, WHOLE, "period", "none", each.ends) for each in ours
    ]


def _of_period(lago: PeriodFigures, here: PeriodFigures, past: bool) -> Iterator[FigureDifference]:
    left = list(here.charges)
    for charge in lago.charges:
        known = _pair(charge, left)
        if known is not None:
            left.remove(known)
            yield from _of_charge(lago.starts, charge, known)
        elif not past or _is_used(charge):
            yield FigureDifference(lago.starts, charge, WHOLE, "charge", _units(charge), "none")
    for charge in left:
        if not past or _is_used(charge):
            yield FigureDifference(lago.starts, charge, WHOLE, "charge", "none", _units(charge))


def _pair(charge: ChargeFigures, ours: Sequence[ChargeFigures]) -> ChargeFigures | None:
    """Return our charge of its code; where Lago names none, of its metric and model.

    Of several such the one that shows the same, for they may come in another order.
    """
    found = [
        each
        for each in ours
        if (
            each.code == charge.code
            if charge.code and each.code
            else (each.metric, each.charge_model) == (charge.metric, charge.charge_model)
        )
    ]
    alike = (each for each in found if not any(_of_charge("", charge, each)))
    return next(alike, found[0] if found else None)


def _of_charge(period: str, lago: ChargeFigures, here: ChargeFigures) -> Iterator[FigureDifference]:
    # The whole first, then filters and groups by name.
    for part in sorted({*lago.parts, *here.parts}):
        theirs, ours = lago.parts.get(part, NOTHING), here.parts.get(part, NOTHING)
        for field, one, other in zip(_FIELDS, theirs, ours, strict=True):
            if one is not None and other is not None and one != other:
                yield FigureDifference(period, here, part, field, _text(one), _text(other))


def share(
    lago: Sequence[PeriodFigures], here: Sequence[PeriodFigures]
) -> tuple[Fraction, Fraction]:
    """Return how many units agree, and of how many, charge by charge."""
    agreed = total = Fraction(0)
    ours: dict[str, list[ChargeFigures]] = {}
    for period in here:
        ours.setdefault(period.starts, []).extend(period.charges)
    for period in lago:
        left = ours.setdefault(period.starts, [])
        for charge in period.charges:
            known = _pair(charge, left)
            if known is not None:
                left.remove(known)
            pair = _size(charge), Fraction(0) if known is None else _size(known)
            agreed, total = agreed + min(pair), total + max(pair)
    return agreed, total + sum(_size(charge) for left in ours.values() for charge in left)


def _size(charge: ChargeFigures) -> Fraction:
    return abs(Fraction(charge.parts[WHOLE].units))


def told_part(part: Part) -> str:
    """Return a part of a charge in words; nothing for all of it."""
    group, bucket = part
    return " ".join(text for text in (group, f"[{bucket}]" if bucket else "") if text)


def _bucket(bucket: Json) -> str:
    values: Mapping[str, Sequence[str]] | None = bucket.get("values")
    if not values:
        return DEFAULT
    return ", ".join(
        f"{_named(key)}={'|'.join(sorted(map(_named, texts)))}"
        for key, texts in sorted(values.items())
    )


def _group(group: Mapping[str, str | None]) -> str:
    return ", ".join(
        f"{_named(key)}={'(none)' if value is None else _named(value)}"
        for key, value in sorted(group.items())
    )


def _named(text: str) -> str:
    """Return a key or value so that no two parts of a charge have one name."""
    return text if _CLEAR.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _is_used(charge: ChargeFigures) -> bool:
    return any(value for figures in charge.parts.values() for value in figures)


def _units(charge: ChargeFigures) -> str:
    return f"{_text(charge.parts[WHOLE].units)} units"


def instant(text: str) -> str:
    """Return an instant in one spelling, to the second."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.tzinfo is not None:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _sum(one: Decimal | None, two: Decimal | None) -> Any:
    return None if one is None or two is None else exact_sum((one, two))


def _text(value: Decimal) -> str:
    return plain(value).removesuffix(".0")
