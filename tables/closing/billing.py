"""Billing: what a record says is left to bill, beside what was billed in advance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from app.definitions.model import EXACT_ENDS, WHOLE_ENDS, Charge, Metric, Subscription
from app.definitions.periods import Period, ceil_to
from app.numbers import ZERO, plain
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import BillingText
from tables.aggregation import Groups
from tables.changelogged.instants import InstantTable, StoredChain
from tables.partition.partition import Partition

NOTHING_LEFT = '"none"'
RENEWAL = '"renewal"'


def ends_unpublished(
    subscription: Subscription, charge: Charge, metric: Metric, period: Period
) -> bool:
    """Return True if nothing of a charge is left to bill when its period ends.

    A recurring charge paid in advance is billed again for what comes, and nothing comes. By the
    rules of version 1 it is billed at the end as any other. Before there were exact ends it was
    billed after an upgrade where the period ends, too.
    """
    if period.fold_version == 1 or not (metric.recurring and charge.is_billed_at_once(metric)):
        return False
    upgraded = period.upgraded or (
        period.end_rules >= EXACT_ENDS and _is_upgrade(subscription, period)
    )
    return upgraded or period.closing_reason == "termination"


def may_be_carried_on(subscription: Subscription, charge: Charge, period: Period) -> bool:
    """Return whether a period leaves it to the next plan to publish what recurs, if it has that.

    Only the part that an upgrade cut short does: that goes on in the next. Before `WHOLE_ENDS` a
    whole period did, too.
    """
    leaves = period.upgraded or period.end_rules < WHOLE_ENDS
    return leaves and _is_upgrade(subscription, period) and not charge.prorated


def _is_upgrade(subscription: Subscription, period: Period) -> bool:
    return period.closing_reason == "plan_change" and subscription.upgraded


def billed_at_once(
    instants: InstantTable, metric: Metric, cell_id: str, start_ms: int
) -> BillingText:
    """Return what the record of a cell says that is billed with each event.

    `start_ms`: where its period begins.
    """
    chain = instants.chain(cell_id, start_ms)
    billed = plain(ZERO if chain is None else chain.billed)
    billing = RENEWAL if metric.recurring else NOTHING_LEFT
    return BillingText(billing=billing, billed_in_advance=f'"{billed}"')


def is_taken_again(
    instants: InstantTable, cell_id: str, cut_ms: int, start_ms: int | None = None
) -> bool:
    """Return True if an event of a cell was billed after a cut, which then was taken by that time.

    A state that is folded anew takes its cuts again, over what all records say of billing.
    `start_ms`: where the period of the cell begins, for who knows it.
    """
    chain = instants.chain(cell_id, start_ms)
    return chain is not None and chain.decided_ms > cut_ms


def moved_by(instants: InstantTable, identity: bytes, corrected_ms: int) -> Iterator[StoredChain]:
    """Yield the chains that a correction of an event, or a later one, took it out of or into."""
    for figure in instants.figures(identity):
        if figure.decided_ms >= corrected_ms:
            chain = instants.chain(figure.cell_id)
            if chain is not None:
                yield chain


class Moved:
    """What was billed at once and corrected, as far as a cut may be the first to show it.

    The event need not be dated in the period that it was billed in, which may have been cut short.
    """

    def __init__(self, partition: Partition, name: SubscriptionKey, cut_ms: int):
        self._partition = partition
        self._name = name
        self._cut_ms = cut_ms

    @cached_property
    def by_start(self) -> Mapping[int, Mapping[StoredChain, int]]:
        """Chains with the append time of the newest correction, by the start of the period."""
        partition, found = self._partition, dict[int, dict[StoredChain, int]]()
        if not partition.definitions.pays_in_advance(*self._name):
            return found
        for code in partition.corrected.revised_codes(self._name):
            for kept in partition.corrected.revised(self._name, code, self._cut_ms):
                identity = kept.arrival().identity
                for chain in moved_by(partition.instants, identity, kept.since_ms):
                    chains = found.setdefault(chain.start_ms, {})
                    chains[chain] = max(chains.get(chain, -1), kept.since_ms)
        return found

    def cells(
        self, subscription_id: str, charge_id: str, period: Period
    ) -> Iterator[tuple[tuple[str | None, Groups], int]]:
        """Yield cells of a charge in a period, with the append time of the newest correction."""
        for chain, corrected_ms in self.by_start.get(period.start_ms, {}).items():
            is_of_it = (chain.subscription_id, chain.charge_id) == (subscription_id, charge_id)
            if is_of_it and ceil_to(corrected_ms, period.revise_every_ms) >= self._cut_ms:
                groups = tuple(value for _, value in chain.grouped_by)
                yield (chain.filter_id, groups), corrected_ms
