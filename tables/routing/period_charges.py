"""In force: the charges that a period folds under, by its own definitions and by history records.

A period keeps the definitions of its first cut until a history record names some of its charges.
The named charges fold under the definitions at that record from then on (records-and-cuts §7).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence, Set
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from app.bounds.at_hand import keep
from app.definitions.model import Charge, ChargeFilter, HistoryRecord, Metric, Plan
from app.definitions.periods import Period
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from tables.aggregation import Groups
from tables.changelogged.published_period import PublishedCellKey

T = TypeVar("T")

_MOST_ALIKE: Final = 16
"""Nearly all whose periods are due together have the same ones."""


class PeriodCharge(NamedTuple):
    """A charge of a period as its definitions have it."""

    charge: Charge
    metric: Metric
    as_of_ms: int
    """Append time up to which definitions hold for it."""
    gone: bool = False
    """A history record ended it; charge and metric are as they were before."""


Stage = dict[str, PeriodCharge]
"""By charge id, in the order of the plan."""


def charges_in_force(
    definitions: Definitions, plan: Versions[Plan], code: str | None, at_ms: int
) -> list[tuple[Charge, Metric]]:
    """Return charges of a plan with their metrics as of a moment, in plan order.

    `code` None: all.
    """
    version = plan.at(at_ms) or plan.last_before_deletion(at_ms)
    if version is None:
        return []
    in_force = []
    for charge in version.charges:
        metric = definitions.metric_versions[charge.metric_id].at(at_ms)
        if metric is not None and (code is None or metric.code == code):
            in_force.append((charge, metric))
    return in_force


class Covering:
    """History records of an organization, found by the periods that they concern."""

    def __init__(self, records: Sequence[HistoryRecord]):
        """Take records in order."""
        self._records = records
        self._bounds_ms = sorted({ms for each in records for ms in (each.from_ms, each.to_ms)})
        """Where the periods that a record concerns begin, and those that it does not."""
        self._between: dict[int, list[HistoryRecord]] = {}
        """By how many bounds lie before it, the records in whose range a period starts."""

    def of(self, period: Period) -> Sequence[HistoryRecord]:
        """Return the history records that concern a period, as `HistoryRecord.covers` says."""
        start_ms = period.start_ms
        place = bisect_right(self._bounds_ms, start_ms)
        found = self._between.get(place)
        if found is None:
            found = [r for r in self._records if r.from_ms <= start_ms < r.to_ms]
            self._between[place] = found
        return found[bisect_right(found, period.due_at_ms, key=_APPENDED_MS) :]


_APPENDED_MS = attrgetter("append_time_ms")


class PeriodCharges:
    """Charges in force in one period, now and before each history record that concerns it."""

    def __init__(
        self,
        definitions: Definitions,
        plan: Versions[Plan],
        period: Period,
        records: Sequence[HistoryRecord],
    ):
        """Take `records`: history records of the organization that are in force, in order."""
        self._records = Covering(records).of(period)
        self._plans = plan
        self._made: dict[Callable[[Charge, Metric], Any], tuple[Any, ...]] = {}
        """What `made_of` has told: all who fold under it ask."""
        self._told: dict[Hashable, Any] = {}
        """What `told_once` has told."""
        self._alike: dict[Hashable, Any] = {}
        """What `alike` has told last."""
        self._known_keys: dict[tuple[str, str | None], tuple[str, ...]] = {}
        """What `_first_keys` has told: each cell asks."""
        at_ms = period.fixed_at_ms
        self.plan = plan.last_before_deletion(at_ms)
        """The plan as the period has it; None: there was none yet."""
        own = charges_in_force(definitions, plan, None, at_ms)
        self._stages: list[Stage] = [{c.id: PeriodCharge(c, m, at_ms) for c, m in own}]
        for record in self._records:
            then = charges_in_force(definitions, plan, None, record.append_time_ms)
            self._stages.append(_after(self._stages[-1], record, then))
        newest = self._stages[-1].values()
        self.in_force = tuple([entry for entry in newest if not entry.gone])
        """The charges of the period."""
        self.as_of_ms = max((entry.as_of_ms for entry in newest), default=-1)
        """Append time in ms of the newest definitions that hold for any charge; -1: no charge."""

    @cached_property
    def recurring(self) -> tuple[PeriodCharge, ...]:
        """The charges of the period whose metrics recur."""
        return tuple([entry for entry in self.in_force if entry.metric.recurring])

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """Where charges stand in `in_force`, by the code of their metric."""
        places = dict[str, list[int]]()
        for place, entry in enumerate(self.in_force):
            places.setdefault(entry.metric.code, []).append(place)
        return places

    @cached_property
    def _ids(self) -> dict[str, set[str]]:
        """The ids of charges, with those that are gone, by the code of their metric."""
        ids = dict[str, set[str]]()
        for charge_id, entry in self._stages[-1].items():
            ids.setdefault(entry.metric.code, set()).add(charge_id)
        return ids

    def ids_of(self, codes: Set[str]) -> set[str]:
        """Return the ids of charges of some metric codes, with those that are gone."""
        return set().union(*(self._ids.get(code, ()) for code in codes))

    def made_of(
        self, make: Callable[[Charge, Metric], T], codes: Set[str] | None = None
    ) -> Iterator[tuple[PeriodCharge, T]]:
        """Return the charges of the period, or of metric codes, each with what is made of it once.

        Of hundreds of charges an event concerns those of its code.
        """
        made = self._made.get(make)
        if made is None:
            made = self._made[make] = tuple([make(c, m) for c, m, *_ in self.in_force])
        if codes is None:
            return zip(self.in_force, made, strict=True)
        places = sorted(place for code in codes for place in self._places.get(code, ()))
        return ((self.in_force[place], made[place]) for place in places)

    def told_once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what is made of them once, under a name of its own."""
        if name not in self._told:
            self._told[name] = make()
        told: T = self._told[name]
        return told

    def alike(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what is made of them for all who have something else in common, which names it.

        Of few it is kept: each first period may begin at an instant of its own.
        """
        found: T | None = self._alike.get(name)
        return keep(self._alike, name, make(), _MOST_ALIKE) if found is None else found

    def last(self, charge_id: str) -> PeriodCharge | None:
        """Return a charge as it is in force, or as it was before it was gone."""
        return self._stages[-1].get(charge_id)

    def changed_since(self, charge_id: str, after_ms: int) -> bool:
        """Return True if a history record appended after a time changed a charge."""
        before = sum(record.append_time_ms <= after_ms for record in self._records)
        old, new = self._stages[before].get(charge_id), self._stages[-1].get(charge_id)
        return _definition(old) != _definition(new)

    def named_since(self, charge: Charge, after_ms: int) -> bool:
        """Return True if a history record appended after a time names a charge."""
        return any(at_ms > after_ms for at_ms in self.named_at(charge))

    def named_at(self, charge: Charge) -> Iterator[int]:
        """Yield the append times of history records that name a charge."""
        return (r.append_time_ms for r in self._records if r.names(charge))

    def filter_of(self, charge_id: str, filter_id: str | None) -> ChargeFilter | None:
        """Return a bucket as it is in force, or as it last was; None: the default bucket."""
        if filter_id is None:
            return None
        for stage in reversed(self._stages):
            entry = stage.get(charge_id)
            for charge_filter in entry.charge.filters if entry is not None else ():
                if charge_filter.id == filter_id:
                    return charge_filter
        return None

    # Cells are named by the values of their groups. The keys stand in the name only where history
    # made others of them: the same values of other keys are another cell.

    def name_of(self, charge: Charge, filter_id: str | None, groups: Groups) -> PublishedCellKey:
        """Return the name, among those published, of a cell of a charge that is in force."""
        keys = charge.group_keys(self.filter_of(charge.id, filter_id))
        return self.name_under(charge.id, filter_id, groups, keys)

    def name_under(
        self, charge_id: str, filter_id: str | None, groups: Groups, keys: tuple[str, ...]
    ) -> PublishedCellKey:
        """Return the name, among those published, of a cell that is grouped by these keys."""
        if not groups or keys == self._first_keys(charge_id, filter_id):
            return charge_id, filter_id, groups
        return charge_id, filter_id, groups, keys

    def keys_that_fit(
        self, charge: Charge, filter_id: str | None, groups: Groups, keys: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the keys of a cell's groups: `keys`, unless it stands as it was grouped before.

        Whose events are deleted is not folded anew. Then it is the last keys that were as many.
        """
        if not groups or len(groups) == len(keys):
            return keys
        name = ("keys", charge.id, filter_id, len(groups))
        return self.told_once(name, lambda: self._last_keys(*name[1:])) or keys

    def _last_keys(self, charge_id: str, filter_id: str | None, count: int) -> tuple[str, ...]:
        """Return the last keys of a bucket that were so many, among all versions of the plan."""
        places: Iterator[tuple[Charge, ChargeFilter | None]]
        if filter_id is None:
            places = ((charge, None) for charge in self._versions(charge_id))
        else:
            places = ((c, b) for c, b in self._buckets(charge_id) if b.id == filter_id)
        known = (charge.group_keys(bucket) for charge, bucket in places)
        return next((keys for keys in known if len(keys) == count), ())

    def filter_before(self, charge_id: str, filter_id: str) -> ChargeFilter:
        """Return a bucket as it was last: a cell stands in it that is not folded anew."""
        name = ("filter", charge_id, filter_id)
        return self.told_once(
            name, lambda: next(b for _, b in self._buckets(charge_id) if b.id == filter_id)
        )

    def _buckets(self, charge_id: str) -> Iterator[tuple[Charge, ChargeFilter]]:
        """Yield the buckets of a charge in all versions of the plan, those of the last first."""
        return ((c, bucket) for c in self._versions(charge_id) for bucket in c.filters)

    def _versions(self, charge_id: str) -> Iterator[Charge]:
        plans = reversed(list(self._plans.all()))
        return (charge for plan in plans for charge in plan.charges if charge.id == charge_id)

    def keys_of(self, name: PublishedCellKey) -> tuple[str, ...]:
        """Return the keys that a cell is grouped by."""
        return name[3] if len(name) == 4 else self._first_keys(name[0], name[1])

    def _first_keys(self, charge_id: str, filter_id: str | None) -> tuple[str, ...]:
        keys = self._known_keys.get((charge_id, filter_id))
        if keys is None:
            keys = next(self.keys_through_time(charge_id, filter_id), ())
            self._known_keys[charge_id, filter_id] = keys
        return keys

    def keys_through_time(self, charge_id: str, filter_id: str | None) -> Iterator[tuple[str, ...]]:
        """Yield group keys of a bucket, the first it had first."""
        for stage in self._stages:
            entry = stage.get(charge_id)
            if entry is None:
                continue
            if filter_id is None:
                yield entry.charge.group_keys(None)
                continue
            for charge_filter in entry.charge.filters:
                if charge_filter.id == filter_id:
                    yield entry.charge.group_keys(charge_filter)


def _after(before: Stage, record: HistoryRecord, then: list[tuple[Charge, Metric]]) -> Stage:
    """Return the charges of a period after a history record; `then`: charges at the record."""
    at_ms = record.append_time_ms
    after = dict(before)
    for charge_id, entry in before.items():
        if record.names(entry.charge):
            after[charge_id] = entry._replace(as_of_ms=at_ms, gone=True)
    after.update((c.id, PeriodCharge(c, m, at_ms)) for c, m in then if record.names(c))
    return after


def _definition(entry: PeriodCharge | None) -> tuple[Charge, Metric] | None:
    return None if entry is None or entry.gone else entry[:2]
