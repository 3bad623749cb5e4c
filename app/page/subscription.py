"""One subscription: its running period or a closed one, and how far each is to the invoice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from app.billing_periods.instants import iso_milliseconds
from app.billing_periods.timezones import local_date
from app.meter.usage import (
    ChargeInForce,
    PastPeriod,
    PeriodUsage,
    Publication,
    UsageRow,
)
from app.numbers import exact_difference, exact_sum
from app.page.figures import (
    NOTHING,
    address,
    bucket,
    count,
    days,
    figure,
    group,
    pending,
    time,
    whole,
)
from app.page.html import Html, Node, button, el, lazy, markup
from app.page.tables import Column, Row, facts, table

SHOWN_ROWS: Final = 200
_SUMMED_ROWS: Final = 5_000
"""Rows whose units are added up: a thousand take a millisecond."""
PERIODS_OF_A_PAGE: Final = 6
_PERIODS_NAMED: Final = 12
WINDOWS: Final = ("hour", "day", "month")


class About(NamedTuple):
    """The subscription that is shown, and its customer."""

    name: str
    organization: str | None
    """What addresses name; None: there is no other."""
    customer: str
    plan: str
    timezone: str
    state: str
    since_ms: int | None
    """None: nobody created it."""

    def address(self, **query: str | None) -> str:
        """Return the address of a state of this view."""
        return address("subscriptions", self.name, organization=self.organization, **query)

    def part(self, name: str, **query: str | None) -> str:
        """Return where a part of this view is asked for."""
        return address(
            "page", "part", name, subscription=self.name, organization=self.organization, **query
        )


class PageChoice(NamedTuple):
    """What the address asks for."""

    period: str | None
    """Local date on which a closed period begins; None: the one that runs."""
    charge: str | None
    metric: str | None
    window: str


def subscription_view(
    about: About, usage: PeriodUsage | None, closed: Sequence[PastPeriod], wanted: PageChoice
) -> Html:
    """Return the fragment."""
    return markup(
        el("h1", "Subscription ", el("span", about.name, class_="id")),
        facts(
            (
                ("Customer", about.customer),
                ("Plan", about.plan),
                ("Zone", about.timezone),
                ("State", about.state),
                ("Since", time(about.since_ms, about.timezone)),
            )
        ),
        _periods(about, closed, wanted.period),
        el("p", "No period runs now.", class_="empty")
        if usage is None
        else _usage(about, usage, wanted.charge),
        _records_place(about, wanted.period),
        _series_place(about, usage, wanted),
        lazy("past", about.part("past"), "Closed periods"),
    )


def _periods(about: About, closed: Sequence[PastPeriod], chosen: str | None) -> Html:
    links = [el("a", "running", href=about.address(), aria_current=None if chosen else "page")]
    for past in islice(closed, _PERIODS_NAMED):
        begins = begins_on(past)
        text = days(past.period.start_ms, past.period.to_ms, past.period.timezone)
        here = "page" if begins == chosen else None
        links.append(el("a", text, href=about.address(period=begins), aria_current=here))
    listed = (el("li", link) for link in links)
    return el("nav", el("ul", listed), aria_label="Periods", class_="pills", id="periods")


def begins_on(past: PastPeriod) -> str:
    """Return the local date on which a period begins, as addresses name it."""
    return local_date(past.period.start_ms, past.period.timezone).isoformat()


def state_words(publication: Publication, timezone: str) -> Node:
    """Say how far a period has come."""
    match publication.state:
        case "open":
            return "open: it runs, nothing is published of it"
        case "due":
            return markup(
                "due: it ended, its first cut is at ", time(publication.due_at_ms, timezone)
            )
        case "published":
            return markup(
                "published at ",
                time(publication.closed_at_ms, timezone),
                "; late events revise it until ",
                time(publication.final_after_ms, timezone),
            )
        case "final":
            return markup(
                "final: no event changes it since ", time(publication.final_after_ms, timezone)
            )
    return "not billed: the implicit plan publishes nothing"


# Usage


def _usage(about: About, usage: PeriodUsage, charge: str | None) -> Html:
    rows = list(islice(_rows(usage, charge), SHOWN_ROWS + 1))
    more = f", first {SHOWN_ROWS} rows" if len(rows) > SHOWN_ROWS else ""
    closed = usage.publication.state != "open"
    columns = _columns(closed)
    return el(
        "section",
        el(
            "p",
            days(usage.from_ms, usage.to_ms, usage.timezone),
            f" {usage.timezone}, ",
            state_words(usage.publication, usage.timezone),
            ". Figures as of ",
            time(usage.as_of.append_time_ms, usage.timezone),
            " (a changed definition is being folded into them)" if usage.stale else None,
            ".",
            id="as-of",
        ),
        _of_one_charge(about, charge),
        table(
            "usage",
            f"{'Closed' if closed else 'Running'} period{more}",
            columns,
            (_row(about, usage, *row) for row in rows[:SHOWN_ROWS]),
            "The plan has no such charge." if charge else "The plan has no charge.",
        ),
        _in_all(about, usage, charge) if more else None,
    )


def _in_all(about: About, usage: PeriodUsage, charge: str | None) -> Html:
    """Return the sum of each charge that has more rows than are shown, and what prints all."""
    charges = {c.charge.id: c for c in usage.charges if charge in (None, c.charge.code)}
    rows: dict[str, list[UsageRow]] = {}
    for row in usage.rows:
        if row.charge_id in charges:
            rows.setdefault(row.charge_id, []).append(row)
    sums = [
        el("li", charges[key].metric.name, ": ", *_sum(found), f", {count(len(found), 'row')}")
        for key, found in rows.items()
        if len(found) > 1
    ]
    past = "" if usage.publication.state == "open" else " --past"
    return el(
        "div",
        el("h3", "In all"),
        el("ul", sums),
        el("p", "All rows: ", el("kbd", f"meter usage {about.name}{past} -o csv")),
        id="in-all",
    )


def _sum(rows: Sequence[UsageRow]) -> tuple[Node, ...]:
    events = count(sum(row.events_count for row in rows), "event")
    if len(rows) > _SUMMED_ROWS:
        return (events,)
    return figure(exact_sum(row.units for row in rows)), f" units of {events}"


def _of_one_charge(about: About, charge: str | None) -> Node:
    if charge is None:
        return None
    return el("p", f"Only charge {charge}. ", el("a", "Show all", href=about.address()))


def _columns(closed: bool) -> tuple[Column, ...]:
    figures = (
        (
            Column("Published", "number"),
            Column("Pending"),
            Column("Live", "number"),
            Column("Revision", "number"),
        )
        if closed
        else (Column("Live", "number"),)
    )
    return (
        Column("Charge"),
        *figures,
        Column("Filter"),
        Column("Group"),
        Column("Published events" if closed else "Events", "number"),
    )


def _rows(
    usage: PeriodUsage, charge: str | None
) -> Iterator[tuple[ChargeInForce, UsageRow | None]]:
    """Yield the rows charge by charge; a charge that nothing used has one without figures."""
    by_charge: dict[str, list[UsageRow]] = {}
    for row in usage.rows:
        by_charge.setdefault(row.charge_id, []).append(row)
    for found in usage.charges:
        if charge not in (None, found.charge.code):
            continue
        rows = by_charge.get(found.charge.id)
        if rows is None:
            yield found, None
        else:
            for row in rows:
                yield found, row


def _row(about: About, usage: PeriodUsage, found: ChargeInForce, row: UsageRow | None) -> Row:
    charge, metric = found.charge, found.metric
    values = filter_values(found, None if row is None else row.filter_id)
    groups = () if row is None else row.grouped_by
    explain = address(
        "subscriptions",
        about.name,
        "explain",
        metric.code,
        organization=about.organization,
        at=None if usage.publication.state == "open" else iso_milliseconds(usage.from_ms),
        charge=charge.code,
        **{f"group[{key}]": value for key, value in groups},
    )
    key = f"{charge.id} {'' if row is None else row.filter_id} {groups}"
    name = markup(
        el("a", metric.name, href=explain),
        el("small", f" {charge.code}", "" if charge.code == metric.code else f", {metric.code}"),
    )
    closed = usage.publication.state != "open"
    return Row(
        key,
        (
            name,
            *(_closed_figures(usage, row) if closed else (_live(row),)),
            bucket(values) if charge.filters else NOTHING,
            group(groups) or NOTHING,
            _events_count(row, closed=closed),
        ),
    )


def filter_values(found: ChargeInForce, filter_id: str | None) -> Mapping[str, object] | None:
    """Return what a filter of a charge selects; None: everything else."""
    charge_filter = None if filter_id is None else found.filters.get(filter_id)
    return None if charge_filter is None else dict(charge_filter.values)


def _events_count(row: UsageRow | None, *, closed: bool) -> str:
    """Return how many events a figure has; of a closed period those of its record, if any."""
    if closed and (row is None or row.revision is None):
        return NOTHING
    return whole(0 if row is None else row.events_count)


def _live(row: UsageRow | None) -> Node:
    if row is None:
        return figure("0")
    prorated = row.prorated_units
    beside = None if prorated is None else el("small", " prorated ", figure(prorated))
    return markup(figure(row.units), beside)


_NO_RECORD: Final = {"due": "not yet", "not_billed": NOTHING}
"""What stands for a figure without a record; of a published period there is none, and says so."""


def _closed_figures(usage: PeriodUsage, row: UsageRow | None) -> tuple[Node, Node, Node, Node]:
    """Return what is published, what is pending, what is live, and the revision."""
    absent = _NO_RECORD.get(usage.publication.state, "no record")
    if row is None:
        return absent, "nothing", figure("0"), NOTHING
    to_come = row.pending
    live = figure(row.units if to_come is None else to_come.units)
    revision = NOTHING if row.revision is None else whole(row.revision)
    if to_come is not None and usage.publication.state != "not_billed":
        absent = "not yet"
    published = absent if row.revision is None else figure(row.units)
    if to_come is None:
        return published, "nothing", live, revision
    before = Decimal(0) if row.revision is None else row.units
    change, cut_ms = exact_difference(to_come.units, before), usage.publication.pending_cut_ms
    return published, pending(change, to_come.cause, cut_ms, usage.timezone), live, revision


# Closed periods


def past_part(about: About, usages: Iterable[PeriodUsage], page: int, has_more: bool) -> Html:
    """Return closed periods, newest first, with every figure that they have."""
    periods = [_past(about, usage) for usage in usages]
    older = about.part("past", page=str(page + 1))
    newer = about.part("past", page=str(page - 1))
    return markup(
        el(
            "div",
            el("h2", "Closed periods"),
            periods or el("p", "No period has ended yet.", class_="empty"),
            id="closed",
        ),
        el(
            "p",
            button("Newer periods", "#past", hx_get=newer) if page > 1 else None,
            " ",
            button("Older periods", "#past", hx_get=older) if has_more else None,
        ),
    )


def _past(about: About, usage: PeriodUsage) -> Html:
    """Return the charges of a closed period, and how far it has come."""
    begins = local_date(usage.from_ms, usage.timezone).isoformat()
    period = el(
        "a",
        days(usage.from_ms, usage.to_ms, usage.timezone),
        href=about.address(period=begins),
    )
    state = el("small", " ", state_words(usage.publication, usage.timezone))
    most = SHOWN_ROWS // PERIODS_OF_A_PAGE
    rows = list(islice(_rows(usage, None), most + 1))
    more = el("small", f", first {most} rows") if len(rows) > most else None
    return table(
        f"closed-{begins}",
        markup(period, state, more),
        _columns(closed=True),
        (_row(about, usage, *row) for row in rows[:most]),
        "The plan had no charge.",
    )


# Published records


def _records_place(about: About, period: str | None) -> Node:
    if period is None:
        return None
    return lazy("records", about.part("records", period=period), "Published records")


# Usage over time


def _series_place(about: About, usage: PeriodUsage | None, wanted: PageChoice) -> Node:
    codes = {} if usage is None else {c.metric.code: c.metric.name for c in usage.charges}
    if not codes:
        return None
    metric = wanted.metric if wanted.metric in codes else next(iter(codes))
    asked = {"period": wanted.period, "charge": wanted.charge}

    def pills(chosen: str, shown: Iterable[tuple[str, str, str]]) -> Html:
        """Return a list of links, each of (what it chooses, its words, its address)."""
        return el(
            "ul",
            (
                el("li", el("a", text, href=href, aria_current="true" if it == chosen else None))
                for it, text, href in shown
            ),
        )

    def chart(code: str, window: str) -> str:
        return about.address(**asked, metric=code, window=window)

    choices = markup(
        pills(wanted.window, ((each, f"by {each}", chart(metric, each)) for each in WINDOWS)),
        pills(metric, ((code, name, chart(code, wanted.window)) for code, name in codes.items())),
    )
    nav = el("nav", choices, aria_label="Chart", class_="pills", id="chart-choices")
    source = about.part("series", metric=metric, window=wanted.window, period=wanted.period)
    return markup(nav, lazy("series", source, f"{codes[metric]} by {wanted.window}"))
