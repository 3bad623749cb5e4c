"""A charge as it folds once more: by its groups and by the keys that its usage is presented by.

Nothing of it is priced. An event falls into the same bucket and group as in the charge itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import Charge, ChargeFilter, Metric, listed_presentation_keys
from tables.aggregation import Groups
from tables.charge import ChargeFold
from tables.values import Properties, group_of, is_long

_MARK = ":presentation"


def breakdown_id(charge_id: str) -> str:
    """Return the name of a charge's second fold, in place of its id."""
    return charge_id + _MARK


def charge_presented(name: str) -> str:
    """Return the name of the fold that a second fold presents, or any other name as it is."""
    return name.removesuffix(_MARK)


class BreakdownFold(ChargeFold):
    """How a charge with presentation keys folds events a second time."""

    __slots__ = ("_grouping", "listed_keys", "presentation_keys")

    prices = False
    spare_groups = 1
    """It tells that there are too many."""
    limits_history = False
    """What comes after a period makes none of its rows too many."""

    @property
    def forgets(self) -> bool:
        """Whether nobody reads its cells of a final period, of which the rows are kept."""
        return True

    def __init__(
        self, charge: Charge, metric: Metric, timezone: str, limits: InputLimits = NO_LIMITS
    ):
        buckets = (None, *charge.filters)
        self._grouping = {
            None if bucket is None else bucket.id: len(charge.group_keys(bucket))
            for bucket in buckets
        }
        # Of the same keys fewer may group: then the same cells are rows of other cells.
        apart = tuple(self._grouping.values())
        super().__init__(_by_all_keys(charge), metric, timezone, limits, apart)
        self.listed_keys = listed_presentation_keys(charge.properties)
        """All that the charge lists, also what groups."""
        self.presentation_keys = {
            None if bucket is None else bucket.id: charge.presentation_keys(bucket)
            for bucket in buckets
        }
        """Keys of the texts that a bucket is presented by, by filter."""

    def fits(self, filter_id: str | None, groups: Groups) -> bool:
        """Return whether a cell is of the fold, and not one that stands as it was folded before."""
        grouping, listed = self._grouping.get(filter_id), self.presentation_keys.get(filter_id, ())
        return grouping is not None and len(groups) == grouping + len(listed)

    def split(self, filter_id: str | None, groups: Groups) -> tuple[Groups, Groups]:
        """Return the group of a cell of the charge itself, and the texts it is presented by."""
        grouping = self._grouping[filter_id]
        return groups[:grouping], groups[grouping:]

    def place_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """Return filter id and groups of the cell of an event that has a value.

        None where the charge itself does not count it. A text that is too long presents nothing.
        """
        if self._overwrites is not None:
            properties = self._overwrites(code, timestamp_ms, properties, append_time_ms)
        bucket = self._bucket_of(properties)
        texts = [group_of(properties, key) for key in bucket.group_keys]
        if append_time_ms > self.limits.limited_after_ms:
            grouping = self._grouping[bucket.filter_id]
            for number, text in enumerate(texts):
                if text is not None and is_long(text):
                    if number < grouping:
                        return None
                    texts[number] = None
        return bucket.filter_id, tuple(texts)


def _by_all_keys(charge: Charge) -> Charge:
    """Return the charge as if all keys grouped it."""

    def by(bucket: ChargeFilter | None) -> Mapping[str, Any]:
        keys = (*charge.group_keys(bucket), *charge.presentation_keys(bucket))
        return {"pricing_group_keys": keys}

    return replace(
        charge,
        id=breakdown_id(charge.id),
        accepts_target_wallet=False,
        pay_in_advance=False,
        properties=by(None),
        filters=tuple(replace(bucket, properties=by(bucket)) for bucket in charge.filters),
    )
