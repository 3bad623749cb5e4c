"""Dead letters: the newest, one whole, and their replay with what became of each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from app.api.call import Call
from app.api.errors import invalid, not_found
from app.api.verdicts import Asked, verdicts_on
from app.billing_periods.instants import iso_milliseconds
from app.meter.errors import NotAllowed, Unavailable
from app.meter.events import RawPosition
from app.meter.overview import DeadLetter, DeadLetterPage, DeadLetterQuery, DeadLetterView
from app.page.dead_letters import Outcome, OutcomeKind
from app.wire.decode import decode_record
from app.wire.events import Event

Json = dict[str, Any]

AT_ONCE: Final = 50
"""Letters that one request replays: what a page of the list has."""
NEWEST: Final = "newest"
"""Stands for the end of the topic where the next page begins."""
_OUTCOMES_S: Final = 5.0
_LETTER_COMES_S: Final = 2.0
_AGAIN_S: Final = 0.25


async def index(call: Call) -> Any:
    """List dead letters of the organization, newest first; `before` goes on where a page ends."""
    found = await page_of(call, call.organization_id)
    letters = [_view_json(one) for one in found.letters]
    return {"dead_letters": letters, "meta": {"before": cursor_text(found)}}


async def page_of(call: Call, organization_id: str | None) -> DeadLetterPage:
    """Return the page that is asked for, read from the topic. Raises 422."""
    before = _before(call.query.text("before"))
    if before is None:
        raise invalid({"before": ["value_is_invalid"]})
    query = DeadLetterQuery(
        organization_id=organization_id,
        code=call.query.text("code"),
        before=before,
        most=min(call.query.positive("per_page", AT_ONCE), AT_ONCE),
    )
    return await call.meter.repairs.letters_before(query)


def cursor_text(page: DeadLetterPage) -> str | None:
    """Return what to ask for the next page with; None: this is the last one."""
    if page.before is None:
        return None
    return ",".join(f"{number}:{offset}" for number, offset in sorted(page.before.items()))


def _before(text: str | None) -> dict[int, int] | None:
    """Read where a page begins; None: the text is no such thing."""
    found: dict[int, int] = {}
    if text is None or text == NEWEST:
        return found
    for part in text.split(","):
        number, _, offset = part.partition(":")
        if not (_is_count(number) and _is_count(offset)):
            return None
        found[int(number)] = int(offset)
    return found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


async def show(call: Call) -> Any:
    """Answer one dead letter whole; bytes are in base64."""
    letter = await found_letter(call, call.organization_id)
    headers = [{"name": name, "value": _text(value)} for name, value in letter.headers]
    key = None if letter.key is None else _text(letter.key)
    whole = {"key": key, "headers": headers, "value": _text(letter.value)}
    return {"dead_letter": {**_view_json(letter.view), **whole}}


async def found_letter(call: Call, organization_id: str | None) -> DeadLetter:
    """Return the letter that the path names. Raises 404."""
    numbers = [call.parameters[name] for name in ("partition", "offset")]
    if not all(map(_is_count, numbers)):
        raise not_found("dead_letter")
    partition, offset = map(int, numbers)
    letter = await call.meter.repairs.dead_letter(organization_id, partition, offset)
    if letter is None:
        raise not_found("dead_letter")
    return letter


def _view_json(view: DeadLetterView) -> Json:
    fields = msgspec.structs.asdict(view)
    return {**fields, "failed_at": iso_milliseconds(fields.pop("failed_at_ms"))}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


# Replay


@dataclass
class _Sent:
    """A letter that was appended anew, until it is known what became of it."""

    letter: DeadLetterView
    position: RawPosition
    asked: Asked | None
    """The event that it holds; None: it holds none, or several."""
    at_s: float
    outcome: Outcome | None = None

    @property
    def named(self) -> str:
        """Place of the letter."""
        return f"{self.letter.partition}/{self.letter.offset}"

    @property
    def place(self) -> list[str]:
        """Partition and offset of the raw record."""
        return [str(self.position.partition), str(self.position.offset)]

    def ends(self, kind: OutcomeKind, words: str = "") -> None:
        """Note what became of it."""
        event = None if self.asked is None else self.asked.transaction_id
        self.outcome = Outcome(self.named, kind, words, event)


async def replayed(
    call: Call, organization_id: str | None, places: Sequence[tuple[int, int]]
) -> list[Outcome]:
    """Append letters anew and return what became of each, waiting for seconds at most.

    Those of one organization; None: of any, and of none.
    """
    outcomes = [await _replay(call, organization_id, place) for place in places[:AT_ONCE]]
    sent = [one for one in outcomes if isinstance(one, _Sent)]
    until_s = _now_s() + _OUTCOMES_S
    while (waiting := [one for one in sent if one.outcome is None]) and _now_s() < until_s:
        await _look(call, organization_id, waiting)
        await asyncio.sleep(_AGAIN_S)
    for one in waiting:
        one.ends("sent", f"as {'/'.join(one.place)}; what became of it is not known yet")
    ended = [one if isinstance(one, Outcome) else one.outcome for one in outcomes]
    return [one for one in ended if one is not None]


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _replay(
    call: Call, organization_id: str | None, place: tuple[int, int]
) -> Outcome | _Sent:
    named, repairs = f"{place[0]}/{place[1]}", call.meter.repairs
    letter = await repairs.dead_letter(organization_id, *place)
    try:
        position = await repairs.replay(organization_id, *place, call.key_name)
    except (NotAllowed, Unavailable) as error:
        return Outcome(named, "not sent", str(error) or "it may not be appended")
    if letter is None or position is None:
        return Outcome(named, "not sent", "there is no such dead letter any more")
    headers = [header for header in letter.headers if not header[0].startswith("meter-")]
    held = [one for _, one in decode_record(letter.value, headers)]
    event = held[0] if len(held) == 1 else None
    asked = None
    if isinstance(event, Event):
        asked = Asked(event.transaction_id, event.external_subscription_id)
    return _Sent(letter.view, position, asked, _now_s())


async def _look(call: Call, organization_id: str | None, waiting: Sequence[_Sent]) -> None:
    """Find out what is known by now."""
    letters = call.meter.repairs.dead_letters(organization_id)
    for one in waiting:
        for letter in letters:
            if letter.source.split("/")[1:3] == one.place:
                words = f"as {letter.partition}/{letter.offset} because {letter.message}"
                one.ends("refused again", words)
    for owner in {one.letter.organization_id for one in waiting} - {None}:
        asked = [one for one in waiting if one.outcome is None and one.asked is not None]
        await _judge(
            call.within(str(owner)), [o for o in asked if o.letter.organization_id == owner]
        )


async def _judge(call: Call, waiting: Sequence[_Sent]) -> None:
    """Ask the owners of some events of one organization what became of them."""
    asked = [one.asked for one in waiting if one.asked is not None]
    for one, verdict in zip(waiting, await verdicts_on(call, asked), strict=True):
        event = verdict["event"]
        if event is None:
            continue
        place = [str(event["position"][name]) for name in ("partition", "offset")]
        if place != one.place:
            # A conflicting duplicate is refused: its letter comes within two seconds.
            if _now_s() - one.at_s > _LETTER_COMES_S:
                one.ends("duplicate", f"of {'/'.join(place)}, which was there before")
        elif verdict["verdict"] == "counted":
            one.ends("counted")
        else:
            one.ends("not counted", verdict["reason"] or "")
