"""Answer the usage of periods, from the cells and from what is published."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from app.bounds.turns import Steps, Work
from app.definitions.model import Subscription
from app.kafka.asked import READ_WITHIN_S
from app.kafka.clients import NOT_TAKEN
from app.meter.errors import Unavailable
from app.meter.usage import (
    AnalyticsQuery,
    AnalyticsRow,
    EstimatedFee,
    EvaluatedAlert,
    PastPeriod,
    PeriodUsage,
    Regrouping,
)
from app.queries.regrouping import regrouped_usage
from app.queries.replay import Replay
from app.queries.routing import Routing
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import Arrival
from app.wire.encode import IncomingEvent, as_event
from tables.changelogged.added_days import AddedDays
from tables.changelogged.members import MemberKey, NotAtHand
from tables.closing.instants import members_ahead
from tables.reading.analytics import added_units
from tables.reading.in_advance import estimated
from tables.reading.usage import (
    current_usage_steps,
    evaluated_alerts,
    past_periods,
    past_usage_steps,
)

T = TypeVar("T")

_TRIES: Final = 8
"""How often members are asked for while they go."""
_BEHIND_ALL = (1 << 15, 0, 0)
"""A place on no partition that there is."""


class Usage:
    """Reads the tables in turns."""

    def __init__(self, engine: Engine, routing: Routing):
        self._engine, self._routing = engine, routing

    async def current_usage(
        self,
        organization_id: str,
        external_subscription_id: str,
        at_ms: int,
        presented_by: frozenset[str] | None = None,
    ) -> PeriodUsage | None:
        """Return the period that holds `at_ms`."""
        owned = self._routing.at_home(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        work = Work("request", "current_usage", *name)
        return await self._with_members(
            owned,
            work,
            lambda: members_ahead(owned.state, name),
            lambda: current_usage_steps(owned.state, name, at_ms, presented_by),
        )

    async def _with_members(
        self,
        owned: OwnedPartition,
        work: Work,
        wanting: Callable[[], Steps[list[MemberKey]]],
        reading: Callable[[], Steps[T]],
    ) -> T:
        """Read once the members are at hand that this asks for.

        Those that a flush stores meanwhile may be let go: they are asked for once more.

        Raises:
            Unavailable: they go again and again, or the store does not give them.
        """
        for _ in range(_TRIES):
            missing = await self._engine.shared.turns.run(work, wanting())
            if missing:
                await owned.members.prefetch_soon(missing)
            with suppress(NotAtHand):
                return await self._engine.shared.turns.run(work, reading())
        raise Unavailable(f"members of partition {owned.number} are let go as they are asked for")

    async def analytics(self, organization_id: str, query: AnalyticsQuery) -> list[AnalyticsRow]:
        """Return what the days of the subscriptions at home here added."""
        engine, parts = self._engine, self._routing.all_owned()
        work = Work("request", "analytics", organization_id)
        numbers = [owned.number for owned in parts]
        try:
            async with engine.daily_additions.opened(numbers, READ_WITHIN_S) as days:

                def days_of(subscription: Subscription) -> AddedDays | None:
                    return days.get(engine.homes.of(organization_id, subscription.external_id))

                steps = added_units(days_of, engine.definitions, organization_id, query)
                found = await engine.shared.turns.run(work, steps)
        except NOT_TAKEN as error:
            raise Unavailable(f"daily records cannot be read now: {error!r}") from error
        self._routing.check_same(parts)
        return found

    def evaluated_alerts(
        self, organization_id: str, external_subscription_id: str
    ) -> dict[str, EvaluatedAlert]:
        """Return what alerts came to when they were looked at last, by id of the alert."""
        name = (organization_id, external_subscription_id)
        return evaluated_alerts(self._routing.at_home(*name).state, name)

    async def estimated_fees(
        self, organization_id: str, event: IncomingEvent, at_ms: int
    ) -> list[EstimatedFee]:
        """Return what an event would bill at once, if it came now; nothing is kept of it."""
        owned = self._routing.at_home(organization_id, event.external_subscription_id)
        name = (organization_id, event.external_subscription_id)
        # As if it came after all others.
        made = as_event(organization_id, event)
        arrival = Arrival(made, organization_id, at_ms, *_BEHIND_ALL)
        work = Work("request", "estimate_fees", *name)
        return await self._with_members(
            owned,
            work,
            lambda: members_ahead(owned.state, name, arrival),
            lambda: estimated(owned.state, name, arrival),
        )

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Return current usage in other groups, or of some events only."""
        subscription = usage.subscription
        name = (subscription.organization_id, subscription.external_id)
        owned = self._routing.at_home(*name)
        async with self._engine.scans.place("regrouped usage", *name) as turn:
            replay = Replay(owned, self._engine.scan, turn)
            return await regrouped_usage(replay, usage, wanted, at_ms)

    async def past_periods(
        self, organization_id: str, external_subscription_id: str, external_customer_id: str
    ) -> list[PastPeriod]:
        """List a customer's periods of a subscription that ended before now, newest first."""
        owned = self._routing.at_home(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        work = Work("request", "past_periods", *name)
        await self._engine.shared.turns.run(work, owned.state.views.walking(name))
        return [
            period
            for period in past_periods(owned.state, name, self._engine.clock.now_ms())
            if period.subscription.external_customer_id == external_customer_id
        ]

    async def period_usage(
        self, organization_id: str, external_subscription_id: str, period: PastPeriod
    ) -> PeriodUsage:
        """Return the usage of one of them."""
        owned = self._routing.at_home(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        work = Work("request", "past_usage", *name)
        steps = past_usage_steps(owned.state, name, period)
        return await self._engine.shared.turns.run(work, steps)
