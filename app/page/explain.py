"""How a figure comes about: what is published and live, and the events that made it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.meter.evidence import (
    NOT_SEARCHABLE,
    EventFate,
    ExplainedCell,
    ExplainQuery,
    Explanation,
)
from app.page.corrections import correction_forms
from app.page.downloads import downloads
from app.page.figures import (
    NOTHING,
    address,
    bounded,
    bucket,
    count,
    days,
    figure,
    group,
    instant,
    link_to,
    pending,
    time,
    whole,
)
from app.page.html import Html, Node, el, markup
from app.page.tables import Column, Row, facts, table

Json = dict[str, Any]

SHOWN_PROPERTIES: Final = 200
SHOWN_CHARACTERS: Final = 65_536


def explain_view(
    explanation: Explanation, query: ExplainQuery, organization: str | None, page: int
) -> Html:
    """Return the fragment."""
    name, code, zone = query.external_subscription_id, query.metric_code, explanation.timezone
    back = address("subscriptions", name, organization=organization)
    proof = (
        "Each live figure is equal to what the raw events come to."
        if explanation.equal
        else "A live figure differs from what the raw events come to. Run `meter verify`."
    )
    return markup(
        el("h1", f"{code} of ", el("a", name, href=back, class_="id")),
        el(
            "p",
            days(explanation.from_ms, explanation.to_ms, zone),
            f" {zone}. Read up to ",
            time(explanation.as_of.append_time_ms, zone),
            "; ",
            el("a", "look again", href=explain_address(query, organization, page=str(page))),
            ".",
            id="read",
        ),
        el("p", proof if explanation.cells else "No charge has a figure of it.", id="proof")
        if not explanation.stale
        else el("p", "A changed definition is being folded: figures follow.", id="proof"),
        _cells(explanation),
        _since(explanation, query, organization),
        el("p", _counts(explanation.counts)),
        _choices(explanation, query, organization),
        _events(explanation, organization),
        _pages(query, organization, page, explanation.listed_count),
        downloads(
            explanation.listed_count,
            lambda number: _csv_address(query, organization, number),
            f"meter explain {name} {code} -o csv",
        ),
    )


def _cells(explanation: Explanation) -> Html:
    columns = (
        Column("Charge"),
        Column("Published", "number"),
        Column("Pending", "number"),
        Column("Live", "number"),
        Column("From raw", "number"),
        Column("Live and raw"),
        Column("Filter"),
        Column("Group"),
        Column("Events", "number"),
    )
    rows = (
        Row(
            f"{cell.charge_id} {cell.filter_values} {cell.grouped_by}",
            _cell(cell, explanation.timezone),
        )
        for cell in explanation.cells[:200]
    )
    return table("cells", "Figures", columns, rows, "None.")


def _cell(cell: ExplainedCell, timezone: str) -> tuple[Node, ...]:
    published = cell.published
    return (
        cell.charge_code,
        "not published"
        if published is None
        else markup(figure(published.units), el("small", f" revision {cell.revision}")),
        _pending(cell, timezone),
        figure(cell.live.units),
        figure(cell.recomputed.units),
        "equal" if cell.equal else el("strong", "differs", class_="bad"),
        bucket(cell.filter_values),
        group(cell.grouped_by) or NOTHING,
        whole(cell.live.events_count),
    )


def _pending(cell: ExplainedCell, timezone: str) -> Node:
    if cell.pending is None:
        return NOTHING if cell.published is None else "nothing"
    cut_ms, change, _, reason = cell.pending
    return pending(change, reason, cut_ms, timezone)


def _since(explanation: Explanation, query: ExplainQuery, organization: str | None) -> Node:
    """Say of which revision the events make a difference, and lead to all of them."""
    if explanation.since_ms is None:
        return None
    every = explain_address(query, organization, since_revision=None, status=None, reason=None)
    return el(
        "p",
        f"Only events by which the figures differ from revision {query.since_revision}, cut at ",
        time(explanation.since_ms, explanation.timezone),
        ". ",
        el("a", "Show all", href=every),
        id="since",
    )


def _asked(
    query: ExplainQuery, organization: str | None, **changed: str | None
) -> dict[str, str | None]:
    """Return what an address asks for besides subscription and metric, some of it changed."""
    since = None if query.since_revision is None else str(query.since_revision)
    asked: dict[str, str | None] = {
        "organization": organization,
        "charge": query.charge_code,
        "at": iso_milliseconds(query.at_ms),
        "since_revision": since,
        "status": query.status,
        "reason": query.reason,
    }
    return asked | changed | {f"group[{key}]": value for key, value in query.group.items()}


def explain_address(query: ExplainQuery, organization: str | None, **changed: str | None) -> str:
    """Return the address of another look at the same figures."""
    name, code = query.external_subscription_id, query.metric_code
    asked = _asked(query, organization, **changed)
    return address("subscriptions", name, "explain", code, **asked)


def _csv_address(query: ExplainQuery, organization: str | None, number: str) -> str:
    name, code = query.external_subscription_id, query.metric_code
    asked = _asked(query, organization, page=number)
    return address("page", "explain.csv", subscription=name, code=code, **asked)


def _choices(explanation: Explanation, query: ExplainQuery, organization: str | None) -> Node:
    """Return links to the events of one status, or that are ignored for one reason."""
    reasons = {
        reason
        for fate in explanation.events
        for reason in (fate.reason, *(outcome.reason for outcome in fate.charges))
        if reason is not None
    }
    if query.reason is not None:
        reasons.add(query.reason)
    if len(explanation.counts) < 2 and not reasons and query.status is None:
        return None

    def link(words: str, status: str | None, reason: str | None) -> Html:
        chosen = (status, reason) == (query.status, query.reason)
        return el(
            "li",
            el(
                "a",
                words,
                href=explain_address(query, organization, status=status, reason=reason),
                aria_current="true" if chosen else None,
            ),
        )

    links = [link("all events", None, None)]
    links += [link(status, status, None) for status in explanation.counts]
    links += [link(reason, None, reason) for reason in sorted(reasons - NOT_SEARCHABLE)]
    return el("nav", el("ul", links), aria_label="Which events", class_="pills", id="choices")


def _counts(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{whole(number)} {status}" for status, number in counts.items())
    return f"{count(sum(counts.values()), 'event')}: {told}." if counts else "No events."


def _events(explanation: Explanation, organization: str | None) -> Html:
    columns = (
        Column("Event"),
        Column("Value", "number"),
        Column("Status", "short"),
        Column("Why"),
        Column("Revision"),
        Column("Time"),
        Column("Position", "id short"),
    )
    rows = (_event(fate, explanation.timezone, organization) for fate in explanation.events)
    return table("events", "Events in order of arrival", columns, rows, "None.")


def _event(fate: EventFate, timezone: str, organization: str | None) -> Row:
    place = fate.place
    values = [outcome.value for outcome in fate.charges if outcome.value]
    reasons = [fate.reason, *(outcome.reason for outcome in fate.charges)]
    cuts = [outcome.cut_ms for outcome in fate.charges if outcome.cut_ms is not None]
    late: Node = None
    if cuts:
        late = markup("late: counts from the cut ", time(min(cuts), timezone))
    why = ", ".join(dict.fromkeys(reason for reason in reasons if reason))
    name, event = fate.external_subscription_id, fate.transaction_id
    return Row(
        f"{place.partition}/{place.offset}/{place.index}",
        (
            link_to(event, "events", event, subscription=name, organization=organization),
            markup(figure(value) for value in values[:1]) if values else NOTHING,
            fate.status + (", amended" if fate.amended else ""),
            markup(why, " " if why and late else None, late) if why or late else NOTHING,
            _revision(fate, timezone),
            time(fate.timestamp_ms, timezone),
            f"{place.partition}/{place.offset}/{place.index}",
        ),
    )


def _revision(fate: EventFate, timezone: str) -> Node:
    """Say in which published revision an event is, or at which cut it will be."""
    known = [outcome for outcome in fate.charges if outcome.reason is None]
    revisions = [outcome.revision for outcome in known if outcome.revision is not None]
    if revisions:
        return f"in {min(revisions)}"
    cuts = [outcome.shown_ms for outcome in known if outcome.shown_ms is not None]
    return markup("at the cut ", time(min(cuts), timezone)) if cuts else NOTHING


def _pages(query: ExplainQuery, organization: str | None, page: int, total: int) -> Html:
    def link(text: str, number: int) -> Html:
        return el("a", text, href=explain_address(query, organization, page=str(number)))

    return el(
        "p",
        link("Events before", page - 1) if page > 1 else None,
        " ",
        link("Further events", page + 1) if query.offset + query.limit < total else None,
    )


# One event


def event_view(trace: Json, event: Json | None, organization: str | None) -> Html:
    """Return what became of an event, arrival by arrival and charge by charge."""
    parts: list[Node] = [el("h1", "Event ", el("span", trace["transaction_id"], class_="id"))]
    for number, arrival in enumerate(trace["arrivals"]):
        parts.append(_arrival(number, arrival, organization))
    if event is not None:
        parts.append(_properties(event))
    parts.append(correction_forms(trace["arrivals"][0], event, organization))
    return markup(parts)


def _arrival(number: int, arrival: Json, organization: str | None) -> Html:
    place = arrival["position"]
    name = arrival["external_subscription_id"]
    again = arrival["duplicate_of"]
    pairs: list[tuple[str, Node]] = [
        ("Subscription", link_to(name, "subscriptions", name, organization=organization)),
        ("Code", arrival["code"]),
        ("Time", instant(arrival["timestamp"])),
        ("Appended", instant(place["append_time"])),
        ("Position", el("span", _place(place), class_="id")),
        ("Status", arrival["status"] + (", amended" if arrival["amended"] else "")),
        ("Why", arrival["reason"] or NOTHING),
    ]
    if again is not None:
        pairs.append(("Repeats", el("span", _place(again), class_="id")))
    return el(
        "section",
        el("h2", f"It came again ({number + 1})" if number else "First arrival"),
        facts(pairs),
        _outcomes(number, arrival, organization),
    )


def _place(place: Json) -> str:
    return f"{place['partition']}/{place['offset']}/{place['index']}"


def _outcomes(number: int, arrival: Json, organization: str | None) -> Html:
    columns = (
        Column("Charge"),
        Column("Value", "number"),
        Column("Counted"),
        Column("Filter"),
        Column("Group"),
        Column("Period from"),
        Column("Counts from cut"),
    )
    rows = (
        Row(outcome["lago_charge_id"], _outcome(arrival, outcome, organization))
        for outcome in arrival["charges"]
    )
    return table(f"charges-{number}", "Charges", columns, rows, "No charge looks at it.")


def _outcome(arrival: Json, outcome: Json, organization: str | None) -> tuple[Node, ...]:
    period = outcome["period"]
    explain = address(
        "subscriptions",
        arrival["external_subscription_id"],
        "explain",
        outcome["billable_metric_code"],
        organization=organization,
        charge=outcome["charge_code"],
        at=None if period is None else period["from"],
    )
    return (
        el("a", outcome["charge_code"], href=explain),
        figure(outcome["value"]) if outcome["value"] else NOTHING,
        "counted" if outcome["counted"] else f"not counted: {outcome['reason']}",
        bucket(outcome["filters"]),
        group(outcome["grouped_by"]) or NOTHING,
        instant(None if period is None else period["from"]),
        instant(outcome["counts_from_cut"]),
    )


def _properties(event: Json) -> Html:
    held = event["properties"]
    shown = islice(held.items(), SHOWN_PROPERTIES)
    rows = (Row(key, (bounded(key), bounded(_json(value)))) for key, value in shown)
    columns = (Column("Property"), Column("Value", "id"))
    more = (
        f", first {SHOWN_PROPERTIES} of {whole(len(held))}" if len(held) > SHOWN_PROPERTIES else ""
    )
    as_json = el("pre", bounded(_json(event), SHOWN_CHARACTERS), tabindex=0)
    return markup(
        table("properties", f"Properties{more}", columns, rows, "None."),
        el("details", el("summary", "The event as JSON"), as_json, id="json"),
    )


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
