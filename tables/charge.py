"""A charge as it folds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Self

import msgspec

from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import ALL_FILTER_VALUES, Charge, ChargeFilter, Metric
from app.expressions import parse
from app.kernel.twin import MOST_NAMES
from app.wire.arrivals import Arrival
from tables.aggregation import Aggregation, Groups
from tables.claims import Claims
from tables.registry import AGGREGATIONS
from tables.values import (
    UNITS_A_MEMBER,
    Apply,
    Ignored,
    Properties,
    Reading,
    ValueReader,
    group_of,
    is_long,
    overwriter,
    read_of,
    reading_of,
    value_reader,
)

Literals = tuple[bytes | None, ...]
"""JSON literals of some properties; None: there is no such property."""


class Bucket(NamedTuple):
    """A filter of a charge, or its default bucket (`filter_id` None)."""

    filter_id: str | None
    conditions: tuple[tuple[str, frozenset[str]], ...]
    group_keys: tuple[str, ...]


class FoldParts(NamedTuple):
    """What of a fold each run of events asks for, in one object: there are many short runs."""

    read_value: ValueReader
    plain: bool
    unique: bool
    counts_after_ms: int
    apply: Apply | None
    reads: bool
    prices: bool
    by_day: bool
    reading: Reading | None
    """How `app.kernel` reads and folds it, which events may lead to straight; None: it does not."""


class ChargeFold:
    """How one charge folds events, compiled from the charge and its metric."""

    _made_of: tuple[Any, ...]

    prices = True
    """Whether its cells are billed; others only show where the units come from."""

    by_day = False
    """Whether its events count from the ends of their days on."""

    spare_groups = 0
    """How many groups more than the limit have cells."""

    over_life = False
    """Whether it folds the life of a subscription, for alerts alone."""

    @property
    def bills_at_once(self) -> bool:
        """Whether each event that counts is billed when it comes."""
        return self.in_advance and self.prices

    @property
    def reaches_back(self) -> bool:
        """Whether what is dated before the first period of a span counts in it, too."""
        return self.metric.recurring

    @property
    def forgets(self) -> bool:
        """Whether records of a final period tell all of its cells; folds of one key agree on it.

        What recurs is carried on, in one cell for all periods that are forgotten.
        """
        return self.prices

    @property
    def gives_places(self) -> bool:
        """Whether an event that does not count may have a place for its group, or for its row.

        For a row alone a closed period of what recurs does not show what came later.
        """
        return self.grouped or (self.charge.presents and not self.metric.recurring)

    @property
    def limits_history(self) -> bool:
        """Whether the limit of groups holds for all history at once, not for each period."""
        return self.metric.recurring

    __slots__ = (
        "_claims",
        "_made_of",
        "_overwrites",
        "aggregation",
        "applies",
        "buckets",
        "charge",
        "counts_after_ms",
        "default_bucket",
        "group_places",
        "grouped",
        "in_advance",
        "key",
        "limits",
        "metric",
        "parts",
        "place_names",
        "plain",
        "properties",
        "read_value",
        "unique",
        "units",
        "whole_members",
    )

    def __new__(cls, *made_of: Any) -> Self:
        """Keep what it is compiled from: another process compiles it again."""
        fold = super().__new__(cls)
        fold._made_of = made_of
        return fold

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of

    def __init__(
        self,
        charge: Charge,
        metric: Metric,
        timezone: str,
        limits: InputLimits = NO_LIMITS,
        apart: object = None,
    ):
        """Take `apart`: what tells folds apart that lead events to the same cells."""
        self.charge = charge
        self.metric = metric
        self.limits = limits
        """Since when events keep to which limits of `app.bounds.limits`."""
        self.counts_after_ms = metric.counts_after_ms
        self.default_bucket = Bucket(None, (), charge.group_keys(None))
        self.buckets = _buckets(charge, metric)
        self._claims: Claims | None = None
        """Which bucket has an event; it is made for the first one."""
        self.grouped = any(bucket.group_keys for bucket in (*self.buckets, self.default_bucket))
        self.plain = not self.buckets and not self.default_bucket.group_keys
        self.in_advance = charge.is_billed_at_once(metric)
        """Whether each event is billed when it comes."""
        made = AGGREGATIONS[metric.aggregation_type]
        self.aggregation: Aggregation[Any] = made(
            recurring=metric.recurring,
            prorated=charge.prorated,
            timezone=timezone,
        )
        self.unique = self.aggregation.reads == "operation"
        self.whole_members = self.unique and (charge.prorated or self.in_advance)
        """Whether members of a unique count keep more of their operations than the last ones."""
        self.applies = type(self.aggregation).apply is not Aggregation.apply
        """Whether the state keeps more of an event than that it was."""
        self.read_value = value_reader(metric, limits)
        buckets = (*self.buckets, self.default_bucket)
        self.place_names = tuple(
            sorted({n for b in buckets for n in (*b.group_keys, *(key for key, _ in b.conditions))})
        )
        """The properties that an event's filter and groups hang on."""
        keys = self.default_bucket.group_keys
        self.group_places = None if self.buckets else tuple(map(self.place_names.index, keys))
        """Which of these are the groups, in order; None: its filter decides that."""
        self.properties = _properties_read(metric, self.place_names)
        self._overwrites = overwriter(metric, self.place_names, limits)
        self.units = 0 if not metric.expression else parse(metric.expression).units
        """What evaluating its expression costs for one event, at least, and taking its member."""
        if self._overwrites:
            # Once for the value and once for the place.
            self.units *= 2
        if self.unique:
            self.units += UNITS_A_MEMBER
        self.parts: FoldParts | None = None
        """What `tables.fold` reads of it at each run of events; `take_parts` makes it."""
        self.key = (
            metric.id,
            metric.code,
            metric.aggregation_type,
            metric.field_name,
            metric.expression,
            metric.recurring,
            metric.counts_after_ms,
            metric.rounding_function,
            metric.rounding_precision,
            charge.prorated,
            self.in_advance,
            timezone if charge.prorated else None,
            self.buckets,
            self.default_bucket,
            apart,
        )

    def take_parts(self) -> FoldParts:
        """Return what the fold reads of it, which is the same from the first event on."""
        self.parts = FoldParts(
            self.read_value,
            self.plain,
            self.unique,
            self.counts_after_ms,
            self.aggregation.apply if self.applies else None,
            bool(self.properties),
            self.prices,
            self.by_day,
            self._reading(),
        )
        return self.parts

    def _reading(self) -> Reading | None:
        if self._overwrites is not None or len(self.place_names) > MOST_NAMES:
            return None
        apply = self.aggregation.apply if self.applies else None
        aggregation = self.aggregation
        reading = reading_of(self.metric, apply, aggregation.kept, ordered=aggregation.ordered)
        if reading is None or reading.numbers is not None:
            return reading
        # Of single events only operations are told, and these to members alone.
        told = self.unique or reading.field is None
        return reading if told and not self.applies else None

    def limits_until(self, appended_ms: int) -> tuple[int, int, int]:
        """Return since when events appended up to a time keep to which limits that concern it."""
        limited_after_ms, rounded_after_ms, _, as_lago_after_ms = self.limits
        computes = bool(self.metric.expression)
        return (
            min(limited_after_ms, appended_ms) if self.unique or self.grouped or computes else 0,
            min(rounded_after_ms, appended_ms) if computes else 0,
            min(as_lago_after_ms, appended_ms) if computes else 0,
        )

    def place_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """Return filter id and groups of the cell that an event which has a value belongs to.

        None if a value that it is grouped by is too long.
        """
        if self._overwrites is not None:
            properties = self._overwrites(code, timestamp_ms, properties, append_time_ms)
        bucket = self._bucket_of(properties)
        # A missing property and a blank text are the same null group.
        groups = tuple([group_of(properties, key) for key in bucket.group_keys])
        if append_time_ms > self.limits.limited_after_ms:
            for text in groups:
                if text is not None and is_long(text):
                    return None
        return bucket.filter_id, groups

    def place_named(self, literals: Literals) -> tuple[str | None, Groups] | None:
        """Return what `place_of` does, by the literals of `place_names`; None: the event decides.

        Whoever has an expression asks `place_of`.
        """
        named = zip(self.place_names, literals, strict=True)
        properties = {name: msgspec.Raw(raw) for name, raw in named if raw is not None}
        place = self.place_of("", 0, properties, -1)
        # Events appended earlier may have a long group.
        is_plain = place is not None and not any(text and is_long(text) for text in place[1])
        return place if is_plain else None

    def cell_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """Return what `place_of` does, of any event; None if it has no value as well."""
        value = self.read_value(code, timestamp_ms, properties, append_time_ms)
        if isinstance(value, Ignored):
            return None
        return self.place_of(code, timestamp_ms, properties, append_time_ms)

    def cell_of_event(self, arrival: Arrival) -> tuple[str | None, Groups] | None:
        """Return what `cell_of` does, of an event with its properties unread."""
        return self.cell_of(*read_of(arrival))

    def _bucket_of(self, properties: Properties) -> Bucket:
        """Return the bucket of an event: most keys, fewest values, oldest; else the default.

        `buckets` is in that order, so the first match decides (metering-semantics §4.8).
        """
        if not self.buckets:
            return self.default_bucket
        if self._claims is None:
            self._claims = Claims([bucket.conditions for bucket in self.buckets])
        first = self._claims.first(properties)
        return self.default_bucket if first is None else self.buckets[first]


def _buckets(charge: Charge, metric: Metric) -> tuple[Bucket, ...]:
    """Return the filters in the order in which they claim events."""
    allowed = metric.allowed_values

    def bucket(charge_filter: ChargeFilter) -> Bucket:
        conditions = tuple(
            (
                key,
                allowed.get(key, frozenset()) if ALL_FILTER_VALUES in values else frozenset(values),
            )
            for key, values in sorted(charge_filter.values.items())
        )
        return Bucket(charge_filter.id, conditions, charge.group_keys(charge_filter))

    buckets = [bucket(charge_filter) for charge_filter in charge.filters]
    return tuple(
        sorted(buckets, key=lambda b: (-len(b.conditions), sum(len(v) for _, v in b.conditions)))
    )


def _properties_read(metric: Metric, place_names: Iterable[str]) -> frozenset[str]:
    """Return names of all event properties that the charge looks at."""
    names = {*place_names}
    reads = AGGREGATIONS[metric.aggregation_type].reads
    if reads != "nothing" and metric.field_name:
        names.add(metric.field_name)
    if reads == "operation":
        names.add("operation_type")
    if metric.expression:
        names |= parse(metric.expression).properties
    return frozenset(names)


@lru_cache(maxsize=1 << 14)
def place_named(fold: ChargeFold, literals: Literals) -> tuple[str | None, Groups] | None:
    """Return the name of the cell that literals lead to; None: the event decides."""
    return fold.place_named(literals)
