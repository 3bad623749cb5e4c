"""Replays of dead letters: the question before, what became of each letter, and how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

from app.page.figures import NOTHING, address, bounded, count, link_to, whole
from app.page.html import Html, Node, el, markup
from app.page.tables import Column, Row, table

ANEW: Final = "The original bytes are appended anew."

OutcomeKind = Literal["counted", "duplicate", "not counted", "refused again", "sent", "not sent"]
_KINDS: Final = frozenset(get_args(OutcomeKind))


class ReplayOutcome(NamedTuple):
    """What became of a dead letter that was replayed."""

    place: str
    kind: OutcomeKind
    words: str
    transaction_id: str | None = None


def question_part(code: str, number: int, organization: str | None, *, are_all: bool) -> Html:
    """Return the question whether all letters of a code are to be replayed."""
    if are_all and not number:
        return el("p", f"The topic has no event refused as {code} to replay.", id="sum")
    many = count(number, "event") if are_all else f"every event, {whole(number)} and more,"
    return el(
        "div",
        el("p", f"Replay {many} refused as {code}? {ANEW}", id="sum"),
        _form("Yes, replay them", code, None, {}, organization, target="#outcomes"),
    )


def stopped_part(code: str, before: str, organization: str | None) -> Html:
    """Return what is said of a replay that stopped, and a button to go on."""
    return el(
        "div",
        el("p", f"A replay of all events refused as {code} has stopped on its way.", id="sum"),
        _form("Go on", code, before, {}, organization, target="#outcomes"),
    )


def step_part(
    outcomes: Sequence[ReplayOutcome],
    code: str,
    sums: Mapping[str, int],
    before: str | None,
    organization: str | None,
) -> Html:
    """Return what became of some letters, the sum so far, and what goes on with the next ones.

    It goes on by itself. After a failure there is a button, and the address says where it was.
    """
    done = sum(sums.values())
    now = Counter(dict(sums)) + Counter(outcome.kind for outcome in outcomes)
    reached = address("dead-letters", code=code, **{"from": before}, organization=organization)
    return markup(
        _some(outcomes, done + 1, organization, is_open=done == 0 and before is None),
        el(
            "div",
            el("p", _summed(now, so_far=before is not None), id="sum"),
            before
            and markup(
                _form("Go on", code, before, now, organization, target="#so-far", by_itself=True),
                el("p", el("a", "Stop here", href=reached)),
            ),
            id="so-far",
            data_address=reached,
        ),
    )


def _form(
    text: str,
    code: str,
    before: str | None,
    sums: Mapping[str, int],
    organization: str | None,
    *,
    target: str,
    by_itself: bool = False,
) -> Html:
    fields = [("code", code), ("before", before)]
    fields += [("sum", f"{number} {kind}") for kind, number in sums.items()]
    return el(
        "form",
        (el("input", type="hidden", name=name, value=value) for name, value in fields if value),
        el("button", text),
        hx_post=address("page", "dead-letters", "replay", organization=organization),
        hx_trigger="load, submit" if by_itself else None,
        hx_target=target,
        hx_swap="outerHTML" if by_itself else "innerHTML",
    )


def sums_of(texts: Sequence[str]) -> dict[str, int]:
    """Return how many letters came to what, as the form before has told."""
    found = {}
    for text in texts:
        number, _, kind = text.partition(" ")
        if kind in _KINDS and number.isascii() and number.isdecimal() and len(number) < 12:
            found[kind] = int(number)
    return found


def outcomes_part(outcomes: Sequence[ReplayOutcome], organization: str | None) -> Html:
    """Return what became of each letter that was replayed, and a sum."""
    if not outcomes:
        return el("p", "None is marked.", id="sum")
    kinds = Counter[str](outcome.kind for outcome in outcomes)
    return markup(
        el("p", _summed(kinds, so_far=False), id="sum"),
        _table("replayed", "What became of them", outcomes, organization),
    )


def _summed(kinds: Mapping[str, int], *, so_far: bool) -> str:
    told = ", ".join(f"{whole(number)} {kind}" for kind, number in kinds.items())
    words = f"{count(sum(kinds.values()), 'event')} replayed{' so far' if so_far else ''}"
    return f"{words}: {told}." if told else f"{words}."


def _some(
    outcomes: Sequence[ReplayOutcome], first: int, organization: str | None, *, is_open: bool
) -> Node:
    if not outcomes:
        return None
    last = first + len(outcomes) - 1
    kinds = Counter(outcome.kind for outcome in outcomes)
    told = ", ".join(f"{whole(number)} {kind}" for kind, number in kinds.items())
    caption = f"Letters {whole(first)} to {whole(last)}"
    return el(
        "details",
        el("summary", f"{caption}: {told}"),
        _table(f"replayed-{first}", caption, outcomes, organization),
        open=is_open,
    )


def _table(
    name: str, caption: str, outcomes: Sequence[ReplayOutcome], organization: str | None
) -> Html:
    columns = (
        Column("Letter", "short"),
        Column("Outcome", "short"),
        Column("Details"),
        Column("Event"),
    )
    rows = (
        Row(
            outcome.place,
            (
                outcome.place,
                outcome.kind,
                bounded(outcome.words) or NOTHING,
                _event(outcome.transaction_id, organization),
            ),
        )
        for outcome in outcomes
    )
    return table(name, caption, columns, rows, "None.")


def _event(transaction_id: str | None, organization: str | None) -> Node:
    if transaction_id is None:
        return NOTHING
    return link_to(transaction_id, "events", transaction_id, organization=organization)
