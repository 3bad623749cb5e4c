"""Lives of a subscription told at random, and their periods worked out from the rules alone.

Nothing of the product's calendar is used but its timezone database: posts are listed one by one,
and the first instant of a date is found by walking up to it (billing-periods §1, §2, §8).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise, takewhile
from random import Random
from typing import NamedTuple

from app.billing_periods.instants import iso_milliseconds
from app.billing_periods.timezones import zone
from app.definitions import commands
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

ZONES = (
    "UTC",
    "Africa/Cairo",
    "America/Asuncion",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Etc/GMT+12",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
YEARS = (2008, 2011, 2016, 2018, 2019, 2022, 2023, 2024)
DAY_MS = 86_400_000
CLOSE_GRID_MS = 60_000
MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "yearly": 12}
A_YEAR = {"weekly": 52, "monthly": 12, "quarterly": 4, "semiannual": 2, "yearly": 1}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = "2000-01-01"
_QUARTER_MS = 900_000


class Terms(NamedTuple):
    """A plan as it matters here."""

    code: str
    interval: str
    monthly: bool
    amount_cents: int

    @property
    def yearly_cents(self) -> int:
        return self.amount_cents * A_YEAR[self.interval]


class Lived(NamedTuple):
    """One subscription of the life."""

    terms: Terms
    billing_time: str
    subscription_at_ms: int
    started_at_ms: int
    created_at_ms: int
    end_ms: int | None = None
    reason: str = "period_end"
    upgraded: bool = False
    skips: bool = False
    """Nothing of its last period is published, for a termination ended it."""


class Expected(NamedTuple):
    """A period that is published."""

    start_ms: int
    end_ms: int
    to_ms: int
    duration_days: int
    reason: str
    closed_at_ms: int
    plan_code: str
    carried_on: bool
    """Its recurring cells are left to the next period."""


class Life:
    """Creation, plan changes, terminations and new beginnings of one external id."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.timezone = random.choice(ZONES)
        self.grace_days = random.choice([0, 0, 1, 3])
        self.now_ms = self._birth_ms()
        self.fold_version = random.choice([1, 2, 2])
        self.story = Story(
            since=_BEGINNING,
            close_grid_s=CLOSE_GRID_MS // 1000,
            fold_version=self.fold_version,
        )
        self.lived: list[Lived] = []
        self.following: Lived | None = None
        """What a planned downgrade will put in place of the last of `lived`."""
        self.plans = [self._plan(number, cents) for number, cents in enumerate([1, 100, 1000])]

    @property
    def current(self) -> Lived:
        return self.lived[-1]

    @property
    def periods(self) -> list[Expected]:
        """What is published until now, in the order of the subscriptions."""
        everything = [*self.lived, *([self.following] if self.following else [])]
        return [
            period
            for number, lived in enumerate(everything, 1)
            for period in self._periods(lived, _carries_on(lived, everything[number:]))
        ]

    def begin(self) -> None:
        """Definitions, and the first subscription: at once, back-dated or later."""
        terms = {
            "timezone": self.timezone,
            "billing_configuration": {"invoice_grace_period": self.grace_days},
        }
        customer: dict[str, object] = {"external_id": "customer"}
        # Whoever says it, a customer or its organization: it is the same.
        if self.random.random() < 1 / 2:
            customer |= terms
            terms = {"timezone": "Asia/Tokyo"}
        self.story.define(_BEGINNING, commands.update_organization(ORG, terms))
        self.story.metric("m", "count_agg", at=_BEGINNING)
        self.story.metric("balance", "sum_agg", at=_BEGINNING, recurring=True)
        for plan in self.plans:
            self.story.plan(
                {"code": "m"},
                {"code": "balance"},
                code=plan.code,
                at=_BEGINNING,
                interval=plan.interval,
                amount_cents=plan.amount_cents,
                bill_charges_monthly=plan.monthly,
            )
        self.story.define(_BEGINNING, commands.upsert_customer(ORG, customer))
        days = self.random.choice([0, 0, -self.random.randint(1, 50), self.random.randint(1, 40)])
        self._subscribe(self.now_ms + days * DAY_MS)

    def go_on(self) -> None:
        """Some time later something happens, or nothing."""
        steps = [0, 1, self.random.randint(1, DAY_MS), self.random.randint(1, 90) * DAY_MS // 3]
        self.now_ms += self.random.choice(steps)
        end_ms = self.current.end_ms
        if self.following is not None and end_ms is not None and end_ms <= self.now_ms:
            self.lived.append(self.following)
            self.following = None
        elif end_ms is not None and self.following is None:
            days = self.random.choice([0, 0, self.random.randint(0, 60)])
            self._subscribe(self.now_ms - days * DAY_MS)
        elif self.current.started_at_ms <= self.now_ms:
            if self.random.random() < 1 / 3:
                self._terminate()
            else:
                self._change_plan(self.random.choice(self.plans))

    def end(self) -> None:
        """A while passes, so that much is published."""
        self.now_ms += self.random.randint(1, 400) * DAY_MS

    def _birth_ms(self) -> int:
        year, month = self.random.choice(YEARS), self.random.randint(1, 12)
        last = monthrange(year, month)[1]
        day = date(year, month, self.random.choice([last, self.random.randint(1, last)]))
        midnight_ms = first_instant_ms(day, self.timezone)
        return midnight_ms + self.random.choice([-1, 0, 1, self.random.randint(0, DAY_MS)])

    def _plan(self, number: int, amount_cents: int) -> Terms:
        interval = self.random.choice(list(A_YEAR))
        return Terms(f"plan{number}", interval, self.random.random() < 1 / 2, amount_cents)

    def _post(self, plan: Terms, **more: str) -> None:
        body = {
            "external_customer_id": "customer",
            "plan_code": plan.code,
            "external_id": SUBSCRIPTION,
        }
        command = commands.create_subscription(ORG, {**body, **more})
        self.story.define(iso_milliseconds(self.now_ms), command)

    def _subscribe(self, at_ms: int) -> None:
        plan = self.random.choice(self.plans)
        billing_time = self.random.choice(["calendar", "anniversary"])
        self._post(plan, billing_time=billing_time, subscription_at=iso_milliseconds(at_ms))
        ends_ms = [self._invoiced_until_ms(lived) for lived in self.lived]
        start_ms = max([at_ms, *ends_ms])
        self.lived.append(Lived(plan, billing_time, at_ms, start_ms, self.now_ms))

    def _invoiced_until_ms(self, lived: Lived) -> int:
        """Its end, or the start of a last period that is skipped; -1 when it has no end."""
        end_ms = lived.end_ms
        if end_ms is None:
            return -1
        if not lived.skips or end_ms == lived.started_at_ms:
            return end_ms
        posts = self._posts(lived, lived.terms.monthly)
        starts_ms = (first_instant_ms(post, self.timezone) for post in posts)
        before_ms = list(takewhile(lambda start_ms: start_ms < end_ms, starts_ms))
        return max(before_ms[-1], lived.started_at_ms)

    def _terminate(self) -> None:
        invoice = self.random.choice([None, "generate", "skip"])
        command = commands.terminate_subscription(ORG, SUBSCRIPTION, None, invoice)
        self.story.define(iso_milliseconds(self.now_ms), command)
        self.following = None
        skips = invoice == "skip" and self.fold_version > 1
        self.lived[-1] = self.current._replace(
            end_ms=self.now_ms, reason="termination", skips=skips
        )

    def _change_plan(self, plan: Terms) -> None:
        old = self.current
        if plan == old.terms:
            return
        self._post(plan)
        dearer = plan.yearly_cents >= old.terms.yearly_cents
        at_ms = self.now_ms if dearer else self._downgrade_ms(old)
        self.lived[-1] = old._replace(end_ms=at_ms, reason="plan_change", upgraded=dearer)
        new = old._replace(terms=plan, started_at_ms=at_ms, created_at_ms=self.now_ms, end_ms=None)
        if dearer:
            self.lived.append(new)
        self.following = None if dearer else new

    def _downgrade_ms(self, lived: Lived) -> int:
        monthly = lived.terms.monthly and self.fold_version > 1
        starts = (first_instant_ms(post, self.timezone) for post in self._posts(lived, monthly))
        return next(start_ms for start_ms in starts if start_ms > self.now_ms)

    def _periods(self, lived: Lived, carried_on: bool) -> Iterator[Expected]:
        for post, following in pairwise(self._posts(lived, lived.terms.monthly)):
            start_ms = max(first_instant_ms(post, self.timezone), lived.started_at_ms)
            next_ms = first_instant_ms(following, self.timezone)
            ended = lived.end_ms is not None and lived.end_ms <= next_ms
            end_ms = lived.end_ms if ended and lived.end_ms is not None else next_ms
            has_grace = not ended or self.fold_version > 1
            grace_ms = self.grace_days * DAY_MS if has_grace else 0
            ready_ms = max(end_ms, lived.created_at_ms) + grace_ms
            closed_at_ms = -(-ready_ms // CLOSE_GRID_MS) * CLOSE_GRID_MS
            if start_ms > self.now_ms:
                return
            skipped = ended and lived.skips
            if end_ms > start_ms and closed_at_ms <= self.now_ms and not skipped:
                yield Expected(
                    start_ms,
                    end_ms,
                    end_ms - 1000 if end_ms == next_ms else end_ms // 1000 * 1000,
                    (following - post).days,
                    lived.reason if ended else "period_end",
                    closed_at_ms,
                    lived.terms.code,
                    ended and carried_on,
                )
            if ended:
                return

    def _posts(self, lived: Lived, monthly: bool) -> Iterator[date]:
        """Every post from the one that opens the period of `subscription_at`, without end."""
        anchor = (_at(lived.subscription_at_ms).astimezone(zone(self.timezone))).date()
        anniversary = lived.billing_time == "anniversary"
        interval = lived.terms.interval
        if interval == "weekly":
            origin = anchor if anniversary else anchor - timedelta(days=anchor.weekday())
            while True:
                yield origin
                origin += timedelta(days=7)
        months = 1 if monthly and interval in ("semiannual", "yearly") else MONTHS[interval]
        origin = anchor
        if not anniversary:
            origin = date(anchor.year, (anchor.month - 1) // months * months + 1, 1)
        number = 0
        while True:
            yield months_later(origin, number * months)
            number += 1


def _carries_on(lived: Lived, later: list[Lived]) -> bool:
    """Whether an upgrade led to a plan that had any time."""
    if not lived.upgraded:
        return False
    following = later[0]
    return following.end_ms != following.started_at_ms or _carries_on(following, later[1:])


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or its last."""
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


@cache
def first_instant_ms(day: date, timezone: str) -> int:
    """The first instant that is dated `day`, or later where the clock leaves it out."""
    naive_ms = int((datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH).total_seconds())
    at_ms = naive_ms * 1000 - 40 * 3_600_000
    while _at(at_ms).astimezone(zone(timezone)).date() < day:
        at_ms += _QUARTER_MS
    return at_ms


def _at(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
