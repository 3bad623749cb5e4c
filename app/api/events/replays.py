"""Dead letters appended anew: those named or all of a code, and what became of each.

All of a code are taken page by page, newest first, from below where the first page began. A letter
that comes meanwhile is never among them, so a replay ends. Where one stops it says where to go on.
One that was refused again is there once more, and the first stands for all: else each replay would
double them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from app.api.answering.call import Call
from app.api.answering.streams import lines
from app.api.events.dead_letters import cursor, cursor_text, whose
from app.api.events.verdicts import AskedEvent, verdicts_on
from app.api.http import json_text
from app.api.http.errors import invalid
from app.meter.errors import NotAllowed, Unavailable
from app.meter.events import RawPosition
from app.meter.overview import DeadLetterQuery, DeadLetterView
from app.numbers import natural
from app.page.replays import OutcomeKind, ReplayOutcome
from app.wire.decode import decode_record
from app.wire.events import Event

Place = tuple[int, int]
"""Partition and offset of a dead letter."""

AT_ONCE: Final = 50
"""Letters that are appended before what became of them is waited for."""
_MOST_PLACES: Final = 1_000
_OUTCOMES_S: Final = 5.0
_LETTER_COMES_S: Final = 2.0
_AGAIN_S: Final = 0.25


class ReplayStep(msgspec.Struct, frozen=True):
    """Some letters that were replayed, and where the next ones begin."""

    outcomes: list[ReplayOutcome]
    before: Mapping[int, int] | None
    """None: these were the last."""


class ReplayRequest(msgspec.Struct, frozen=True):
    """What is to be replayed: letters by their places, else those of a code, else all."""

    places: Sequence[Place] | None = None
    code: str | None = None
    before: Mapping[int, int] = {}
    """By partition, only letters below this offset."""


async def step(call: Call, organization_id: str | None, wanted: ReplayRequest) -> ReplayStep:
    """Replay a page of a code, or of all. Those of one organization; None: of any, and of none."""
    query = DeadLetterQuery(
        organization_id=organization_id,
        code=wanted.code,
        before=wanted.before,
        most=AT_ONCE,
        to_replay=True,
    )
    page = await call.meter.repairs.letters_before(query)
    places = [(letter.partition, letter.offset) for letter in page.letters]
    return ReplayStep(await replayed(call, organization_id, places), page.before)


async def steps(
    call: Call, organization_id: str | None, wanted: ReplayRequest
) -> AsyncGenerator[ReplayStep, None]:
    """Replay all that is wanted, some at a time."""
    if wanted.places is not None:
        for start in range(0, len(wanted.places), AT_ONCE):
            some = wanted.places[start : start + AT_ONCE]
            yield ReplayStep(await replayed(call, organization_id, some), None)
        return
    before: Mapping[int, int] | None = wanted.before
    while before is not None:
        made = await step(call, organization_id, msgspec.structs.replace(wanted, before=before))
        yield made
        before = made.before


# Over HTTP


class _Body(msgspec.Struct):
    places: list[str] | None = None
    code: str | None = None
    all: bool = False
    before: str | None = None


class Line(msgspec.Struct):
    """What became of a letter."""

    place: str
    outcome: str
    details: str
    transaction_id: str | None


class ReplayReached(msgspec.Struct):
    """How far a replay has come: asked again with this `before`, it goes on from here."""

    replayed: int
    sum: dict[str, int]
    before: str | None
    done: bool


async def create(call: Call) -> Any:
    """Replay dead letters; answer JSON lines, one a letter, and how far it has come."""
    return await answered(call, whose(call))


async def answered(call: Call, organization_id: str | None) -> Any:
    """Replay what the body names, and answer as it goes. Raises 422."""
    body = json_text.decode_as(await call.body(), _Body)
    if (body.places is not None) + (body.code is not None) + body.all != 1:
        raise invalid({"places": ["value_is_mandatory"]})
    places = None if body.places is None else [place_of(text) for text in body.places]
    if places is not None and len(places) > _MOST_PLACES:
        raise invalid({"places": ["value_is_invalid"]})
    wanted = ReplayRequest(places, body.code, cursor(body.before))
    return await lines(call, {"code": body.code}, _lines(call, organization_id, wanted))


async def _lines(
    call: Call, organization_id: str | None, wanted: ReplayRequest
) -> AsyncGenerator[msgspec.Struct, None]:
    sums = Counter[str]()
    async for made in steps(call, organization_id, wanted):
        for one in made.outcomes:
            sums[one.kind] += 1
            yield Line(one.place, one.kind, one.words, one.transaction_id)
        yield ReplayReached(sums.total(), dict(sums), cursor_text(made.before), False)
    yield ReplayReached(sums.total(), dict(sums), None, True)


def place_of(text: str) -> Place:
    """Return partition and offset of a letter. Raises 422."""
    partition, offset = map(natural, text.partition("/")[::2])
    if partition is None or offset is None:
        raise invalid({"places": ["value_is_invalid"]})
    return partition, offset


# One step


@dataclass
class _Sent:
    """A letter that was appended anew, until it is known what became of it."""

    letter: DeadLetterView
    position: RawPosition
    asked: AskedEvent | None
    """The event that it holds; None: it holds none, or several."""
    at_s: float
    outcome: ReplayOutcome | None = None

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
        self.outcome = ReplayOutcome(self.named, kind, words, event)


async def replayed(
    call: Call, organization_id: str | None, places: Sequence[Place]
) -> list[ReplayOutcome]:
    """Append letters anew and return what became of each, waiting for seconds at most.

    Those of one organization; None: of any, and of none.
    """
    if not places:
        return []
    repairs = call.meter.repairs
    _, since = await repairs.letters_since(organization_id, None)
    # While one is appended the next is read; they are appended in this order.
    outcomes = await asyncio.gather(*(_replay(call, organization_id, place) for place in places))
    waiting = [one for one in outcomes if isinstance(one, _Sent)]
    until_s = _now_s() + _OUTCOMES_S
    while waiting and _now_s() < until_s:
        letters, since = await repairs.letters_since(organization_id, since)
        _note_refused(waiting, letters)
        await _judge_all(call, waiting)
        waiting = [one for one in waiting if one.outcome is None]
        if waiting:
            await asyncio.sleep(_AGAIN_S)
    for one in waiting:
        one.ends("sent", f"as {'/'.join(one.place)}; what became of it is not known yet")
    ended = [one if isinstance(one, ReplayOutcome) else one.outcome for one in outcomes]
    return [one for one in ended if one is not None]


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _replay(call: Call, organization_id: str | None, place: Place) -> ReplayOutcome | _Sent:
    named = f"{place[0]}/{place[1]}"
    try:
        found = await call.meter.repairs.replay(organization_id, *place, call.key_name)
    except (NotAllowed, Unavailable) as error:
        return ReplayOutcome(named, "not sent", str(error) or "it may not be appended")
    if found is None:
        return ReplayOutcome(named, "not sent", "there is no such dead letter any more")
    letter = found.letter
    headers = [header for header in letter.headers if not header[0].startswith("meter-")]
    held = [one for _, one in decode_record(letter.value, headers)]
    event = held[0] if len(held) == 1 else None
    asked = None
    if isinstance(event, Event):
        asked = AskedEvent(event.transaction_id, event.external_subscription_id)
    return _Sent(letter.view, found.position, asked, _now_s())


def _note_refused(waiting: Sequence[_Sent], letters: Sequence[DeadLetterView]) -> None:
    by_source = {tuple(letter.source.split("/")[1:3]): letter for letter in letters}
    for one in waiting:
        letter = by_source.get(tuple(one.place))
        if letter is not None:
            place = f"{letter.partition}/{letter.offset}"
            one.ends("refused again", f"as {place} because {letter.message}")


async def _judge_all(call: Call, waiting: Sequence[_Sent]) -> None:
    """Ask what became of events, organization by organization."""
    # Letters of older programs name no organization where the event names none.
    default = call.meter.definitions.settings_at().default_organization_id
    for owner in {one.letter.organization_id or default for one in waiting} - {None}:
        of_it = [one for one in waiting if (one.letter.organization_id or default) == owner]
        for some in _asked(of_it, call.api.max_batch):
            await _judge(call.within(str(owner)), some)


def _asked(waiting: Sequence[_Sent], most: int) -> Iterator[list[tuple[_Sent, AskedEvent]]]:
    """Yield those with an event of which nothing is known yet, so many at a time."""
    open_ones = [
        (one, one.asked) for one in waiting if one.outcome is None and one.asked is not None
    ]
    for start in range(0, len(open_ones), most):
        yield open_ones[start : start + most]


async def _judge(call: Call, waiting: Sequence[tuple[_Sent, AskedEvent]]) -> None:
    """Ask the owners of some events of one organization what became of them."""
    verdicts = await verdicts_on(call, [asked for _, asked in waiting])
    for (one, _), verdict in zip(waiting, verdicts, strict=True):
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
