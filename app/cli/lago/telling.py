"""What a comparison found: in words, as objects, or as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from app.cli.lago.comparing import ComparedSubscription, EventDifference, Judged
from app.cli.lago.deviations import DEVIATIONS
from app.cli.lago.figures import told_part
from app.cli.remote import Json
from app.cli.rows import Rows
from app.wire.record_rows import cell_text

Accepted = frozenset[str]
"""Names of deviations that are known."""

_SHOWN_EVENTS: Final = 10
_COLUMNS: Final = (
    "type",
    "customer",
    "subscription",
    "period",
    "charge_code",
    "billable_metric_code",
    "grouped_by",
    "filter",
    "field",
    "lago",
    "here",
    "events_only_in_lago",
    "events_only_here",
    "events_otherwise",
    "events_not_compared",
    "may_be",
    "accepted",
    "reason",
)


def is_known(judged: Judged, accept: Accepted) -> bool:
    """Return whether a deviation that is accepted may be the cause."""
    return not accept.isdisjoint(judged.may_be)


def words(outcome: ComparedSubscription, accept: Accepted) -> Iterator[str]:
    """Yield lines for people."""
    if outcome.verdict in ("moving", "not compared"):
        reason = f": {outcome.reason}" if outcome.reason else ""
        yield f"{outcome.verdict} {outcome.subscription} of {outcome.customer}{reason}"
    for judged in outcome.differences:
        found = judged.found
        charge = "" if found.charge is None else f" charge {found.charge.name}"
        part = told_part(found.part)
        yield (
            f"{'accepted' if is_known(judged, accept) else 'differs'} {outcome.subscription} of "
            f"{outcome.customer}, period from {found.period}{charge}{f' {part}' if part else ''}: "
            f"{found.field} {found.lago} in Lago, {found.here} here"
        )
        yield from _events(judged.events)
        yield from (f"    may be {name}: {DEVIATIONS[name].words}" for name in judged.may_be)


def _events(events: EventDifference) -> Iterator[str]:
    for told, ids in (
        ("events only in Lago", events.only_lago),
        ("events only here", events.only_here),
        ("events that Lago has otherwise", events.otherwise),
    ):
        if ids:
            more = f" and {len(ids) - _SHOWN_EVENTS} more" if len(ids) > _SHOWN_EVENTS else ""
            yield f"    {told}: {', '.join(ids[:_SHOWN_EVENTS])}{more}"
    if events.unknown:
        yield f"    events were not compared: {events.unknown}"


def objects(outcome: ComparedSubscription, accept: Accepted) -> Iterator[Json]:
    """Yield an object for each difference, or for a subscription that was not compared."""
    names = {"customer": outcome.customer, "subscription": outcome.subscription}
    if outcome.verdict in ("moving", "not compared"):
        yield {"type": outcome.verdict.replace(" ", "_"), **names, "reason": outcome.reason}
    for judged in outcome.differences:
        yield {"type": "difference", **names, **_object(judged, accept)}


def _object(judged: Judged, accept: Accepted) -> Json:
    found, events = judged.found, judged.events
    charge = found.charge
    return {
        "period": found.period,
        "charge_code": charge.code if charge else None,
        "billable_metric_code": charge.metric if charge else None,
        "grouped_by": found.part[0] or None,
        "filter": found.part[1] or None,
        "field": found.field,
        "lago": found.lago,
        "here": found.here,
        "events_only_in_lago": list(events.only_lago),
        "events_only_here": list(events.only_here),
        "events_otherwise": list(events.otherwise),
        "events_not_compared": events.unknown or None,
        "may_be": list(judged.may_be),
        "accepted": is_known(judged, accept),
    }


def rows(outcomes: Iterable[ComparedSubscription], accept: Accepted) -> Rows:
    """Return the same as rows; a list has blanks between."""
    return Rows(
        _COLUMNS,
        (
            [_cell(each.get(name)) for name in _COLUMNS]
            for outcome in outcomes
            for each in objects(outcome, accept)
        ),
    )


def _cell(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else cell_text(value)
