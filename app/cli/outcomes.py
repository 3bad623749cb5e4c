"""What became of events that a producer sent, asked by their ids, a hundred at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from app.cli.event_rows import Row, as_sent, named
from app.cli.exits import DIFFERS, NO_VERDICT
from app.cli.remote import Json, Remote
from app.wire.answer_rows import place_text

AT_ONCE: Final = 100
COUNTED: Final = "counted"
WELL: Final = frozenset((COUNTED, "duplicate"))
"""Outcomes of events of which nobody has to hear."""
Item = TypeVar("Item")


class SentOutcome(NamedTuple):
    """One line of a file, and what became of its event."""

    line: int
    subscription: str
    transaction_id: str
    code: str
    day: str
    """Local to UTC; empty when nothing is known of it."""
    outcome: str
    """counted, duplicate, not_counted, refused, cancelled, differs, missing, lost."""
    reason: str
    """Why it does not count; for `differs` the fields."""
    place: str
    """partition:offset:index in the raw topic; empty when it is not there."""


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the items by lists of at most AT_ONCE."""
    rest = iter(items)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch


def verdicts(worker: Remote, rows: Sequence[tuple[int, Row]], compare: bool) -> list[Json]:
    """Return the worker's verdicts of at most a hundred rows; `compare`: with what they hold."""
    asked = []
    for number, row in rows:
        subscription, transaction_id = named(number, row)
        one: Json = {
            "external_subscription_id": subscription,
            "transaction_id": transaction_id,
        }
        if compare:
            sent = as_sent(row)
            known = ("code", "timestamp", "properties")
            one |= {name: sent[name] for name in known if sent.get(name) is not None}
            if "code" in one:
                one["code"] = str(one["code"])
        asked.append(one)
    found: list[Json] = worker.post("/api/v1/events/verdicts", {"events": asked})["verdicts"]
    return found


def outcome_of(number: int, row: Row, verdict: Json) -> SentOutcome:
    """Return a verdict as a line of a report; a value that is given must be the one that counts."""
    event = verdict["event"]
    word, reason = verdict["verdict"], verdict["reason"] or ", ".join(verdict["differs"])
    if word == COUNTED and row.get("value") is not None:
        values = {charge["value"] for charge in event["charges"] if charge["counted"]}
        if not any(_same(str(row["value"]), value) for value in values):
            word, reason = "differs", f"value {', '.join(sorted(map(str, values)))}"
    return SentOutcome(
        number,
        verdict["external_subscription_id"],
        verdict["transaction_id"],
        str(row.get("code") or (event or {}).get("code") or ""),
        "" if event is None else event["timestamp"][:10],
        word,
        reason,
        "" if event is None else place_text(event["position"]),
    )


def _same(given: str, value: str | None) -> bool:
    """Return True for equal numbers, or equal texts; a unique value counts as add or remove."""
    text = (value or "").partition(":")[2] or value or ""
    try:
        return Decimal(given) == Decimal(text)
    except ArithmeticError:
        return given == text


def exit_code(outcomes: Iterable[str], undecided: str) -> int:
    """Return what a command ends with. `undecided`: the outcome of what is not known yet."""
    others = set(outcomes) - WELL
    if others - {undecided}:
        return DIFFERS
    return NO_VERDICT if others else 0


def told(outcomes: Counter[tuple[str, str]]) -> str:
    """Return counts by outcome, with their reasons: `3 counted, 2 not counted (no_charge 2)`."""
    by_outcome: dict[str, Counter[str]] = {}
    for (outcome, reason), count in outcomes.items():
        by_outcome.setdefault(outcome, Counter())[reason] += count
    parts = []
    for outcome, reasons in sorted(by_outcome.items(), key=lambda item: -item[1].total()):
        named_reasons = ", ".join(f"{why} {count}" for why, count in sorted(reasons.items()) if why)
        words = f"{reasons.total():,} {outcome.replace('_', ' ')}"
        parts.append(f"{words} ({named_reasons})" if named_reasons else words)
    return ", ".join(parts) or "nothing"
