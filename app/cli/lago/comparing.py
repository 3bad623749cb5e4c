"""One subscription in Lago and here: read until both stand still, then compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from app.cli.lago.client import Here, Lago, LagoRefused
from app.cli.lago.deviations import Case, candidates
from app.cli.lago.figures import (
    FigureDifference,
    PeriodFigures,
    compared,
    instant,
    period_of,
    share,
)
from app.cli.remote import Json, RequestRefused, segment

LOOKS: Final = 5
MOST_EVENTS: Final = 1_000
_EVENTS_A_PAGE: Final = 100
NOT_PUBLISHED: Final = frozenset({"due", "not_billed"})

Verdict = Literal["equal", "differing", "moving", "not compared"]
Periods = tuple[PeriodFigures, ...]
Get = Callable[[str, dict[str, str | int | None]], Json]


class EventDifference(NamedTuple):
    """Which events only one side has, by transaction_id; a reason if that was not found out."""

    only_lago: tuple[str, ...] = ()
    only_here: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    """Events of both sides that have another time or other properties in Lago."""
    unknown: str = ""


class Judged(NamedTuple):
    """A difference with what may explain it."""

    found: FigureDifference
    events: EventDifference
    may_be: tuple[str, ...]


class ComparedSubscription(NamedTuple):
    """What the comparison of one subscription came to."""

    customer: str
    subscription: str
    verdict: Verdict
    reason: str = ""
    differences: tuple[Judged, ...] = ()
    agreed: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))
    """Units that agree, and units in all."""
    unsaid: tuple[str, ...] = ()
    """Fields that Lago does not say, so that they were not compared."""


class _NotCompared(Exception):
    """One side cannot show its usage."""


class Comparing:
    """Compares subscriptions, one after another."""

    def __init__(self, lago: Lago, here: Here, past: bool, wait_s: float) -> None:
        self._lago = lago
        self._here = here
        self._past = past
        self._wait_s = wait_s
        self._metrics: dict[str, Json] = {}

    def outcome(self, subscription: Json) -> ComparedSubscription:
        """Return how a subscription of Lago compares."""
        customer = str(subscription["external_customer_id"])
        external_id = str(subscription["external_id"])
        try:
            seen = self._settled(customer, external_id)
        except _NotCompared as why:
            return ComparedSubscription(customer, external_id, "not compared", str(why))
        if seen is None:
            return ComparedSubscription(customer, external_id, "moving")
        lago, here = seen
        found = compared(lago, here, self._past)
        return ComparedSubscription(
            customer,
            external_id,
            "differing" if found else "equal",
            differences=self._judged(external_id, lago, found),
            agreed=share(lago, here),
            unsaid=_unsaid(lago),
        )

    def _settled(self, customer: str, external_id: str) -> tuple[Periods, Periods] | None:
        """Read Lago, here, and Lago again, until nothing moves; None: something always does.

        A difference has to be seen twice: here may be a moment behind.
        """
        before: tuple[Periods, Periods] | None = None
        lago = self._of_lago(customer, external_id)
        for look in range(LOOKS):
            if look:
                time.sleep(self._wait_s)
            here = self._of_here(customer, external_id)
            again = self._of_lago(customer, external_id)
            if lago == again:
                lago, here = _published(lago, here) if self._past else (lago, here)
                if not compared(lago, here, self._past) or before == (lago, here):
                    return lago, here
                before = lago, here
            else:
                before = None
            lago = again
        return None

    def _of_lago(self, customer: str, external_id: str) -> Periods:
        path = f"/customers/{segment(customer)}/"
        query = {"external_subscription_id": external_id}
        try:
            if self._past:
                listed = self._lago.listed(f"{path}past_usage", "usage_periods", query)
                return tuple(map(period_of, listed))
            answer = self._lago.get(f"{path}current_usage", query)
            return (period_of(answer["customer_usage"]),)
        except LagoRefused as refused:
            raise _NotCompared(f"in Lago: {refused.message}") from refused
        except (KeyError, TypeError, ArithmeticError) as error:
            raise _NotCompared(f"Lago shows usage of another shape: {error!r}") from error

    def _of_here(self, customer: str, external_id: str) -> Periods:
        path = f"/customers/{segment(customer)}/"
        try:
            if self._past:
                name = f"{path}past_usage"
                query = {"external_subscription_id": external_id}
                return tuple(map(period_of, self._here.listed(name, "usage_periods", query)))
            if self._subscription(external_id) is None:
                raise _NotCompared("here: no active subscription of that name")
            answer = self._here.get(f"{path}current_usage", external_subscription_id=external_id)
            return (period_of(answer["customer_usage"]),)
        except RequestRefused as refused:
            raise _NotCompared(f"here: {refused.message}") from refused
        except (KeyError, TypeError, ArithmeticError) as error:
            raise _NotCompared(f"here is a figure that cannot be compared: {error!r}") from error

    def _subscription(self, external_id: str) -> Json | None:
        return self._here.found(f"/subscriptions/{segment(external_id)}", "subscription")

    def _judged(
        self, external_id: str, lago: Periods, found: Sequence[FigureDifference]
    ) -> tuple[Judged, ...]:
        subscription = (self._subscription(external_id) or {}) if found else {}
        events: dict[tuple[str, str], EventDifference] = {}
        judged = []
        ends = {period.starts: period.ends for period in lago}
        for each in found:
            of_one = EventDifference()
            if each.charge is not None:
                name = each.period, each.charge.metric
                if name not in events:
                    end = ends.get(each.period, "")
                    events[name] = self._events(external_id, each.charge.metric, each.period, end)
                of_one = events[name]
            defined = self._defined(each, subscription)
            case = Case(each, *defined, self._past, bool(of_one.otherwise))
            judged.append(Judged(each, of_one, tuple(candidates(case))))
        return tuple(judged)

    def _defined(self, found: FigureDifference, subscription: Json) -> tuple[Json, Json, Json]:
        """Return our metric and charge of a difference, and the subscription."""
        if found.charge is None:
            return {}, {}, subscription
        code = found.charge.metric
        if code not in self._metrics:
            path = f"/billable_metrics/{segment(code)}"
            self._metrics[code] = self._here.found(path, "billable_metric") or {}
        charges = (subscription.get("plan") or {}).get("charges") or ()
        wanted = {found.charge.lago_id, found.charge.code} - {""}
        charge: Json = next((c for c in charges if {c["lago_id"], c["code"]} & wanted), {})
        return self._metrics[code], charge, subscription

    def _events(self, external_id: str, code: str, starts: str, ends: str) -> EventDifference:
        """Return which events of a metric in a period only one side has."""
        query = {"external_subscription_id": external_id, "code": code, "timestamp_from": starts}
        if ends:
            # The end that is shown is the last second of the period: all of it.
            query["timestamp_to"] = ends.replace("Z", ".999Z")
        try:
            theirs = self._bodies(self._lago.get, query)
            ours = self._bodies(lambda path, asked: self._here.get(path, **asked), query)
        except (LagoRefused, RequestRefused) as refused:
            return EventDifference(unknown=refused.message)
        except (KeyError, TypeError, AttributeError) as error:
            return EventDifference(unknown=f"Lago shows events of another shape: {error!r}")
        if theirs is None or ours is None:
            return EventDifference(unknown=f"more than {MOST_EVENTS:,} events")
        both = theirs.keys() & ours.keys()
        return EventDifference(
            tuple(sorted(theirs.keys() - ours.keys())),
            tuple(sorted(ours.keys() - theirs.keys())),
            tuple(sorted(each for each in both if theirs[each] != ours[each])),
        )

    def _bodies(self, get: Get, query: dict[str, str]) -> dict[str, object] | None:
        """Return time and properties of events by their ids; None: too many."""
        found: dict[str, object] = {}
        for page in range(1, MOST_EVENTS // _EVENTS_A_PAGE + 1):
            asked: dict[str, str | int | None] = {**query, "page": page, "per_page": _EVENTS_A_PAGE}
            answer = get("/events", asked)
            found |= {str(event["transaction_id"]): _body(event) for event in answer["events"]}
            if not (answer.get("meta") or {}).get("next_page"):
                return found
        return None


def _published(lago: Periods, here: Periods) -> tuple[Periods, Periods]:
    """Return the periods that can be compared: those here that wait for their cut come later."""
    waiting = {period.starts for period in here if period.state in NOT_PUBLISHED}
    return (
        tuple(period for period in lago if period.starts not in waiting),
        tuple(period for period in here if period.starts not in waiting),
    )


def _body(event: Json) -> object:
    properties = event.get("properties") or {}
    return instant(str(event.get("timestamp"))), {k: str(v) for k, v in properties.items()}


def _unsaid(lago: Periods) -> tuple[str, ...]:
    shown = [f for p in lago for c in p.charges for f in c.parts.values()]
    names = ("total_aggregated_units", "events_count")
    return tuple(name for name in names if any(getattr(one, name) is None for one in shown))
