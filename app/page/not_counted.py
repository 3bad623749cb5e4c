"""Events that were taken and not counted: by reason and code, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.page.causes import NOT_COUNTED
from app.page.figures import NOTHING, count, instant, link_to, whole
from app.page.html import Html, Node, el, markup
from app.page.tables import Column, Row, table

Json = dict[str, Any]


class UncountedLine(NamedTuple):
    """Events that no charge counted."""

    of_code: Mapping[str, int]
    since: str | None
    """Since when that is known; None: it always was."""


def not_counted_view(
    answer: Json, total: int, reason: str | None, code: str | None, organization: str | None
) -> Html:
    """Return the fragment; `total`: how many there are, of which these are the first."""
    columns = (
        Column("Code"),
        Column("Events", "number"),
        Column("Reason", "short"),
        Column("Why"),
        Column("What to do"),
        Column("First"),
        Column("Last"),
        Column("Samples"),
    )
    found, since = answer["not_counted"], answer["since"]
    rows = (Row(f"{one['reason']} {one['code']}", _row(one, organization)) for one in found)
    every = link_to("Show all", "not-counted", organization=organization)
    only = " and ".join(each for each in (reason, code) if each)
    most = f"The {len(found)} with most events of {count(total, 'kind')} are shown: "
    more = el("p", most, el("kbd", "meter list not-counted"), " prints all.")
    return markup(
        el("h1", "Not counted"),
        el(
            "p",
            "Events that were taken, and that no charge counted. ",
            "An event counts once for every charge that left it out.",
        ),
        _not_before(since),
        el("p", f"Only {only}. ", every) if only else None,
        more if total > len(found) else None,
        table(
            "uncounted",
            "By reason and code",
            columns,
            rows,
            markup("Nothing of that kind" if only else "Nothing", since_then(since), "."),
        ),
    )


def counts_at_once(uncounted: UncountedLine, code: str) -> Html:
    """Say how many events a new metric finds there."""
    return el(
        "p",
        f"{count(uncounted.of_code.get(code, 0), 'event')} of this code came",
        since_then(uncounted.since),
        " and were not counted; ",
        "they " if uncounted.since is None else "they, and any before, ",
        "count once a plan has a charge of it.",
    )


def since_then(since: str | None) -> Node:
    """Return since when it is known what was not counted; nothing, if it always was."""
    return None if since is None else markup(" since ", instant(since))


def _not_before(since: str | None) -> Node:
    if since is None:
        return None
    return el(
        "p",
        "Listed is what came since ",
        instant(since),
        ", when a worker last took partitions over. What came before is not listed: ",
        el("kbd", "meter trace"),
        " tells it of one event, ",
        el("kbd", "meter reconcile"),
        " of a producer's list.",
        id="since",
    )


def _row(one: Json, organization: str | None) -> tuple[Node, ...]:
    reason, code = one["reason"], one["code"]
    told = NOT_COUNTED.get(reason)
    samples = [el("li", _sample(each, organization)) for each in one["samples"]]
    define: Node = None
    if reason == "unknown_code":
        new = ("definitions", "new-metric")
        define = markup(" ", link_to("Define it", *new, code=code, organization=organization))
    return (
        markup(link_to(code, "not-counted", code=code, organization=organization), define),
        whole(one["events_count"]),
        link_to(reason, "not-counted", reason=reason, organization=organization),
        NOTHING if told is None else told.cause,
        NOTHING if told is None else told.cure,
        instant(one["first_at"]),
        instant(one["last_at"]),
        el("ul", samples, class_="plain"),
    )


def _sample(sample: Json, organization: str | None) -> Html:
    name, event = sample["external_subscription_id"], sample["transaction_id"]
    return link_to(event, "events", event, subscription=name, organization=organization)
