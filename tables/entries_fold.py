"""A charge as it folds once more, for a price that needs single events: by entries.

Nothing of it is priced. An event falls into the same bucket and group as in the charge itself.
"""

from __future__ import annotations

from msgspec.structs import replace

from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import Charge, Metric
from app.definitions.per_event import MODELS, asked_of
from tables.aggregation import Groups
from tables.charge import ChargeFold
from tables.entries import Entries
from tables.registry import AGGREGATIONS
from tables.values import Ignored, Properties, Value, ValueReader

_MARK = ":per_event"


def entries_id(charge_id: str) -> str:
    """Return the name of a charge's fold by entries, in place of its id."""
    return charge_id + _MARK


def charge_named(name: str) -> str:
    """Return the id of the charge that a fold has events of, by the name that is in its place."""
    return name.removesuffix(_MARK)


def buckets_with_entries(charge: Charge, metric: Metric) -> frozenset[str | None]:
    """Return ids of the buckets whose lists need entries; others follow from their cells."""
    found = set[str | None]()
    if charge.charge_model not in MODELS:
        return frozenset()
    lists = AGGREGATIONS[metric.aggregation_type].lists
    for bucket in (None, *charge.filters):
        asked = asked_of(charge, metric, bucket)
        needs = {
            "none": False,
            "each": asked.prorated_values,
            "greatest": asked.values,
            "number": not asked.nothing,
        }
        if needs[lists]:
            found.add(None if bucket is None else bucket.id)
    return frozenset(found)


def asks(charge: Charge, metric: Metric) -> bool:
    """Return whether the price of any bucket asks for single events."""
    buckets = (None, *charge.filters)
    return charge.charge_model in MODELS and any(
        not asked_of(charge, metric, bucket).nothing for bucket in buckets
    )


class EntriesFold(ChargeFold):
    """How a charge folds the entries of some of its buckets."""

    __slots__ = ("_asking",)

    prices = False

    @property
    def forgets(self) -> bool:
        """Whether nobody reads its cells of a final period: of what recurs later ones list them."""
        return not self.metric.recurring

    def __init__(
        self,
        charge: Charge,
        metric: Metric,
        timezone: str,
        limits: InputLimits = NO_LIMITS,
    ):
        marked = replace(charge, id=entries_id(charge.id), pay_in_advance=False)
        asking = buckets_with_entries(charge, metric)
        buckets = [None, *charge.filters]
        running = any(asked_of(charge, metric, bucket).running_total for bucket in buckets)
        super().__init__(marked, metric, timezone, limits, (asking, running))
        self._asking = asking
        # Some places are no cells.
        self.group_places = None
        operations = self.unique
        self.aggregation = Entries(operations=operations, first_only=running and not operations)
        self.unique, self.applies = False, True
        if operations:
            self.read_value = _texts_of(self.read_value)

    def place_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """Return filter id and groups of the cell of an event; None: its bucket has no entries."""
        place = super().place_of(code, timestamp_ms, properties, append_time_ms)
        return None if place is None or place[0] not in self._asking else place


def _texts_of(read: ValueReader) -> ValueReader:
    """Return what reads an operation's text, and whether it adds, in place of a number."""

    def read_text(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        value = read(code, timestamp_ms, properties, append_time_ms)
        if isinstance(value, Ignored):
            return value
        return value._replace(number=value.digest_text)  # type: ignore[arg-type]

    return read_text
