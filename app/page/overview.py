"""The first view: health in words, subscriptions, what waits, what was not counted, workers."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from app.billing_periods.instants import parse_iso8601_ms
from app.bounds.limits import NOT_COUNTED_KINDS, OVERVIEW_CELLS
from app.meter.health import UNREADY
from app.numbers import parse_text
from app.page.figures import (
    NOTHING,
    address,
    count,
    days,
    duration,
    figure,
    instant,
    link_to,
    shown,
    whole,
)
from app.page.html import Html, Node, el, markup
from app.page.tables import Column, Row, table

Json = dict[str, Any]
State = Literal["good", "warn", "bad"]


class Look(NamedTuple):
    """What a look at the first view asks for."""

    search: str = ""
    organization: str | None = None
    """The one that is chosen; None: the key's, or all."""
    operates: bool = False
    """Whether it may look at every organization."""
    only: str | None = None
    """The only one there is, as definitions say: no address has to name it."""
    sort: str = ""

    def named(self, organization: str) -> str | None:
        """Return what addresses name of an organization; None: there is no other."""
        return organization if self.operates and organization != self.only else None


def overview_view(shown: Json, look: Look) -> Html:
    """Return the fragment."""
    words, state = health_words(shown)
    away = any(reason["code"] == "kafka_unreachable" for reason in shown["health"])
    return markup(
        el("h1", "Overview", class_="away"),
        el("p", words, id="health-line", class_=state, data_status=state),
        _reasons(shown["health"]),
        el("div", _usage(shown, look), class_="old" if away else None, id="usage-part"),
        _closing(shown["closing"]),
        _attention(shown, look),
        _workers(shown),
        _partitions(shown["partitions"]),
        _records(shown["records"], look),
    )


def health_words(shown: Json) -> tuple[str, State]:
    """Return the state of everything as one line, and how good it is."""
    reasons, partitions = shown["health"], shown["partitions"]
    if reasons:
        # What stops figures comes before what only threatens to; else the earliest.
        worst = min(
            reasons, key=lambda r: (r["code"] != "kafka_unreachable", r["code"] not in UNREADY)
        )
        until = max((p["append_time"] or "" for p in partitions), default="")
        aged = worst["code"] == "kafka_unreachable" and until
        old = f" Figures of {_clock(until)} UTC." if aged else ""
        return f"{worst['message']}.{old}", "bad"
    unknown = [p["partition"] for p in partitions if p["lag"] is None]
    if unknown:
        listed = ", ".join(map(str, unknown))
        which = f"partition {listed}" if len(unknown) == 1 else f"partitions {listed}"
        return f"Nobody answers for {which}: figures of those are missing here.", "warn"
    waits = [_said(*each) for each in _waiting(shown) if each[0]]
    if shown["dead_letters_more"] and not shown["dead_letters_lately"]:
        waits.append("How many events of yours were refused in the last hour is not known")
    if waits:
        return f"{'; '.join(waits)}.", "warn"
    return "No event waits, none was refused, every cut that is due is published.", "good"


def _waiting(shown: Json) -> Iterator[tuple[int, str, str]]:
    yield sum(p["lag"] + p["rekeyed_lag"] for p in shown["partitions"]), "event", "not counted yet"
    yield (
        len({held["partition"] for held in shown["closing"]}),
        "partition",
        "with a cut that waits",
    )
    yield sum(p["state"] != "running" for p in shown["partitions"]), "partition", "at work on state"
    yield shown["set_aside"], "record", "set aside"
    yield shown["parked"], "subscription", "parked"
    yield shown["dead_letters_lately"], "event", f"refused in the last hour{_or_more(shown)}"
    # None: nobody has looked, and nothing is said of it.
    yield shown["not_counted_lately"] or 0, "code", f"with events not counted {_lately(shown)}"
    yield sum(each["differing"] for each in shown["each_worker"]), "metric", "that differs from raw"


def _lately(shown: Json) -> str:
    """Say since when events that were not counted are known."""
    since = shown.get("not_counted_since")
    # Of the events before, a worker that has just taken over knows nothing.
    return f"since {_clock(since)} UTC" if since else "in the last hour"


def _or_more(shown: Json) -> str:
    return ", or more" if shown["dead_letters_more"] else ""


def _said(number: int, noun: str, what: str) -> str:
    return f"{count(number, noun)} {what}"


def _clock(text: str) -> str:
    return text.partition("T")[2].removesuffix("Z").partition(".")[0]


def _reasons(reasons: list[Json]) -> Node:
    if not reasons:
        return None
    columns = (Column("What"), Column("Since"), Column("Code", "id"), Column("Worker", "id"))
    rows = (
        Row(
            f"{reason['code']} {reason['worker']}",
            (reason["message"], instant(reason["since"]), reason["code"], reason["worker"]),
        )
        for reason in reasons
    )
    return table("health", "What is not as it should be", columns, rows, "Nothing.")


# Subscriptions


def _usage(shown: Json, look: Look) -> Html:
    lines = shown["usage"]
    several = any(look.named(line["organization_id"]) for line in lines)
    rows = [_line(line, look, several) for line in sorted_lines(lines, look.sort)]
    if look.search and not rows:
        back = link_to("Show all", organization=look.organization)
        return el(
            "div",
            el("h2", "Subscriptions"),
            el(
                "p",
                f"Nothing matches '{look.search}'. ",
                back,
                ". A subscription that no event has reached is not found here: ",
                link_to(
                    "open it by its id",
                    "subscriptions",
                    look.search,
                    organization=look.organization,
                ),
                ".",
                class_="empty",
            ),
            id="usage",
        )
    total = shown["usage_total"]
    named = len({(line["organization_id"], line["external_subscription_id"]) for line in lines})
    more = f", {named} of {whole(total)}" if total > named else ""
    caption = f"Subscriptions that match '{look.search}'" if look.search else "Subscriptions"
    empty = "No usage yet. Send an event and it appears here."
    columns = [*([Column("Organization", "id")] if several else []), *_columns(look)]
    hint = "Those active lately. One without usage in its running period is found by a search."
    return markup(
        table("usage", f"{caption}{more}", columns, rows, empty),
        el("p", hint, class_="quiet", id="others") if more and not look.search else None,
    )


def _line(line: Json, look: Look, several: bool) -> Row:
    if several:
        organization = line["organization_id"]
        return Row(f"{organization} {_key(line)}", (organization, *_cells(line, look)))
    return Row(_key(line), _cells(line, look))


_SORTS = {
    "subscription": ("Subscription", None),
    "units": ("Units", "number"),
    "metric": ("Metric", None),
    "period": ("Period", None),
    "customer": ("Customer", None),
    "events": ("Events", "number"),
}


def _columns(look: Look) -> Iterator[Column]:
    by, falling = look.sort.removeprefix("-"), look.sort.startswith("-")
    for name, (title, kind) in _SORTS.items():
        sorted_by_it = by == name
        turned = f"-{name}" if sorted_by_it and not falling else name
        here = address(search=look.search, organization=look.organization, sort=turned)
        order = ("descending" if falling else "ascending") if sorted_by_it else None
        yield Column(title, kind, here, order)


def sorted_lines(lines: list[Json], sort: str) -> list[Json]:
    """Return the lines in an order that does not hang on who came last."""
    ordered = sorted(lines, key=lambda line: (_key(line), line["organization_id"]))
    by = sort.removeprefix("-")
    if by in _SORTS:
        ordered.sort(key=lambda line: _rank(line, by), reverse=sort.startswith("-"))
    return ordered


def _rank(line: Json, by: str) -> tuple[Decimal, str]:
    match by:
        case "units":
            return parse_text(line["units"] or "-1") or Decimal(0), ""
        case "events":
            count = line["events_count"]
            return Decimal("Infinity" if count is None else count), ""
        case "metric":
            return Decimal(0), line["billable_metric_code"].casefold()
        case "customer":
            return Decimal(0), line["external_customer_id"].casefold()
        case "period":
            return Decimal(0), line["from"]
    return Decimal(0), line["external_subscription_id"].casefold()


def _key(line: Json) -> str:
    names = "external_subscription_id", "billable_metric_code", "charge_code"
    return " ".join(line[name] for name in names)


def _cells(line: Json, look: Look) -> list[Node]:
    name = line["external_subscription_id"]
    organization = look.named(line["organization_id"])
    code, charge = line["billable_metric_code"], line["charge_code"]
    of_charge = "" if charge == code else f", charge {charge}"
    implicit = " (implicit plan, not billed)" if line["implicit"] else ""
    explain = address("subscriptions", name, "explain", code, organization=organization)
    view = address("subscriptions", name, organization=organization)
    if not code:
        return [
            el("a", name, href=view),
            el("a", "none in a running period", href=view),
            *(NOTHING, NOTHING),
            line["external_customer_id"] or NOTHING,
            NOTHING,
        ]
    if line["units"] is None:
        # Of every charge, with filters and groups, they stand in the view of the subscription.
        figures: Node = el("a", f"over {OVERVIEW_CELLS} cells, see each", href=view)
    else:
        told = f"Explain {shown(line['units'])} of {code}"
        figures = el("a", figure(line["units"]), href=explain, aria_label=told)
    # An older program beside this one, while it is rolled out, says no zone.
    zone = line.get("timezone", "UTC")
    from_ms, to_ms = parse_iso8601_ms(line["from"]) or 0, parse_iso8601_ms(line["to"]) or 0
    return [
        el("a", name, href=view),
        figures,
        f"{code}{of_charge}{implicit}",
        NOTHING
        if line["units"] is None
        else markup(days(from_ms, to_ms, zone), el("small", f" {zone}")),
        line["external_customer_id"] or NOTHING,
        "not added up" if line["events_count"] is None else whole(line["events_count"]),
    ]


# What waits, and what was not counted


def _closing(closing: list[Json]) -> Html:
    columns = (Column("Waits for"), Column("Cut"), Column("Since"), Column("Partition", "number"))
    rows = (
        Row(
            f"{held['partition']} {held['cut']}",
            (
                held["blocked_by"],
                instant(held["cut"]),
                markup(instant(held["since"]), f" ({duration(held['waiting_s'])})"),
                held["partition"],
            ),
        )
        for held in closing
    )
    empty = "Nothing: every cut that is due is published."
    return table("closing", "What holds back closing", columns, rows, empty)


def _attention(shown: Json, look: Look) -> Html:
    letters, lately = shown["dead_letters_lately"], shown["not_counted_lately"]
    organization = look.organization
    refused = f"{count(letters, 'event was', 'events were')} refused in the last hour"
    refused += _or_more(shown)
    # Of all organizations together nobody has looked.
    known = lately is not None
    # Each worker tells of so many at most.
    more = " or more" if known and lately >= NOT_COUNTED_KINDS else ""
    when = _lately(shown)
    left_out = f"{count(lately, 'code')}{more} not counted {when}" if known else "Not counted"
    return el(
        "section",
        el("h2", "What needs attention"),
        el(
            "ul",
            el("li", link_to(refused, "dead-letters", organization=organization)),
            el("li", link_to(left_out, "not-counted", organization=organization)),
        ),
        id="attention",
    )


# Workers


def _workers(shown: Json) -> Html:
    columns = (
        Column("Worker", "id"),
        Column("Version"),
        Column("Since"),
        Column("Partitions", "number"),
        Column("Lag", "number"),
        Column("Memory", "number"),
        Column("Kafka and Redis"),
        Column("Verified", "number"),
    )
    rows = (Row(each["worker"], _worker(each, shown)) for each in shown["each_worker"])
    return table("workers", "Workers", columns, rows, "None answers.")


def _worker(each: Json, shown: Json) -> tuple[Node, ...]:
    codes = [r["code"] for r in shown["health"] if r["worker"] == each["worker"]]
    servers = [code for code in codes if code.startswith(("kafka", "redis"))]
    differing = each["differing"]
    verified = f"{whole(each['verified'])}, " + (
        f"{whole(differing)} differ" if differing else "none differs"
    )
    return (
        each["worker"],
        each["version"],
        instant(each["since"]),
        whole(each["partitions"]),
        whole(each["lag"]),
        f"{each['memory_bytes'] / 2**20:,.0f} MiB" if each["memory_bytes"] else "not known",
        ", ".join(servers) or "answer",
        verified if each["verified"] else "nothing yet",
    )


def _partitions(partitions: list[Json]) -> Html:
    columns = (
        Column("Partition", "number"),
        Column("State"),
        Column("Worker", "id"),
        Column("Offset", "number"),
        Column("Lag", "number"),
        Column("Forwarded lag", "number"),
        Column("Events/s", "number"),
        Column("Folded until"),
    )
    rows = (Row(str(each["partition"]), _partition(each)) for each in partitions)
    inner = table("partitions", "Partitions", columns, rows, "This worker has no partitions.")
    lag = sum(each["lag"] or 0 for each in partitions)
    speed = sum(each["events_per_s"] for each in partitions)
    summary = f"{count(len(partitions), 'partition')}, {count(lag, 'event')} behind"
    return el("details", el("summary", f"{summary}, {speed:,.0f} events/s"), inner, id="parts")


def _partition(each: Json) -> tuple[Node, ...]:
    known = each["lag"] is not None
    return (
        each["partition"],
        each["state"],
        each["owner"] or "this one",
        whole(each["offset"]),
        whole(each["lag"]) if known else "not known",
        whole(each["rekeyed_lag"]) if known else "not known",
        f"{each['events_per_s']:,.1f}" if known else "not known",
        instant(each["append_time"]),
    )


def _records(records: list[Json], look: Look) -> Html:
    columns = (
        Column("Subscription"),
        Column("Units", "number"),
        Column("Metric"),
        Column("Revision", "number"),
        Column("Period from"),
        Column("Published at"),
        Column("Type", "id"),
    )
    rows = (Row(record["id"], _record(record, look)) for record in records[:20])
    inner = table("records", "Latest usage records", columns, rows, "No period has closed yet.")
    return el("details", el("summary", "Latest usage records"), inner, id="latest")


def _record(record: Json, look: Look) -> tuple[Node, ...]:
    name = record["external_subscription_id"]
    organization = look.named(record["organization_id"])
    return (
        link_to(name, "subscriptions", name, organization=organization),
        figure(record["units"]) if record["units"] is not None else NOTHING,
        record["billable_metric_code"] or NOTHING,
        record["revision"],
        instant(record["from_datetime"]),
        instant(record["closed_at"]),
        record["type"],
    )
