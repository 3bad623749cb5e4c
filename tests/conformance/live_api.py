"""api.json on real servers: one worker, an organization for each vector, in the order of time."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import ClientSession

from app.billing_periods.instants import parse_iso8601_ms
from tests.conformance.api import Arranger, Conversation, Json, Skipped, check_api_vector
from tests.conformance.api_states import Patterns, arrangement_of, by_pattern
from tests.conformance.comparison import Difference
from tests.conformance.directory import FileOutcome, Outcome
from tests.conformance.files import InvalidVectors
from tests.conformance.live_worker import Client, Servers, VectorClock, api_key, vector_worker
from tests.world import bodies

NOW = "2024-03-15T12:00:00Z"
"""When the vectors run that do not say."""

_CLOCK = re.compile(r"\bclock (?:frozen at )?(\d{4}-[^\s;,]+)")
_ONLY_CLOCK = re.compile(r"clock (?:frozen at )?\S+")


_DECIDED_OTHERWISE = {
    "body.subscription.terminated_at": (
        "the record contract decides otherwise: terminated_at prints with milliseconds"
    ),
}
"""Where the vectors ask for what a document before them rules out: place and reason."""


class _Organization(NamedTuple):
    key: str
    reader_key: str
    elsewhere: Client
    """Another organization."""


_Arrange = Callable[[Conversation, _Organization], Awaitable[None]]


async def check_api_live(path: Path, servers: Servers, directory: Path) -> FileOutcome:
    """Run the vectors of one file in one worker. Raises `InvalidVectors`, or OSError."""
    vectors = _read(path)
    order = sorted(range(len(vectors)), key=lambda number: clock_of(vectors[number]))
    clock = VectorClock(clock_of(vectors[order[0]]) if order else 0)
    keys = [api_key("elsewhere", "elsewhere")]
    for number in order:
        keys.append(api_key(f"api-{number}", f"key-{number}"))
        keys.append(api_key(f"api-{number}", f"reader-{number}", "read"))
    outcomes: dict[int, Outcome] = {}
    async with (
        vector_worker(servers, directory, keys, clock) as worker,
        ClientSession() as session,
    ):
        elsewhere = Client(session, worker.url, "elsewhere")
        for number in order:
            clock.jump(clock_of(vectors[number]))
            own = _Organization(f"key-{number}", f"reader-{number}", elsewhere)
            outcomes[number] = await _run(vectors[number], worker.url, own, session)
    return FileOutcome(f"live {path.name}", [outcomes[n] for n in range(len(vectors))])


def _read(path: Path) -> list[Json]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Json])
    except msgspec.MsgspecError as error:
        raise InvalidVectors(f"{path.name}: {error}") from error


async def _run(vector: Json, base_url: str, own: _Organization, session: ClientSession) -> Outcome:
    name = str(vector.get("id", "?"))
    try:
        found = await check_api_vector(vector, base_url, own.key, session, _arranger(own))
    except Exception as error:
        # A vector that breaks the check must not hide those after it.
        told = str(error) if isinstance(error, AssertionError) else repr(error)
        return Outcome(name, [Difference("setup", "one that succeeds", told)])
    if isinstance(found, Skipped):
        return Outcome(name, [], found.reason)
    reasons = {_DECIDED_OTHERWISE.get(line.partition(":")[0]) for line in found}
    if found and None not in reasons:
        return Outcome(name, [], "; ".join(sorted(reason for reason in reasons if reason)))
    return Outcome(name, [Difference("answer", "as in expect", line) for line in found])


def clock_of(vector: Json) -> int:
    """The time at which a vector runs, in ms since the epoch."""
    for step in vector.get("setup") or ():
        at_ms = _clock_in(step.get("state") or "")
        if at_ms is not None:
            return at_ms
    at_ms = parse_iso8601_ms(NOW)
    if at_ms is None:
        raise AssertionError(NOW)
    return at_ms


def _clock_in(state: str) -> int | None:
    """The instant that a state wants the clock at, wherever in it that is said."""
    match = _CLOCK.search(state)
    return None if match is None else parse_iso8601_ms(match[1])


def _arranger(own: _Organization) -> Arranger:
    async def arrange(conversation: Conversation, state: str) -> bool:
        if _ONLY_CLOCK.fullmatch(state):
            # It is set before the vector begins, so that years pass once.
            return True
        named = by_pattern(_PATTERNS, state)
        if named is not None:
            await named(conversation, own)
            return True
        rest = "; ".join(p for p in state.split("; ") if not _ONLY_CLOCK.fullmatch(p))
        known = arrangement_of(rest) if rest != state else None
        if known is not None:
            await known(conversation)
        return known is not None

    return arrange


async def _read_only(conversation: Conversation, own: _Organization) -> None:
    conversation.api_key = own.reader_key


def _metric_elsewhere(code: str) -> _Arrange:
    async def arrange(_: Conversation, own: _Organization) -> None:
        metric = bodies.metric(code, "count_agg")
        await own.elsewhere.call("POST", "/billable_metrics", {"billable_metric": metric})

    return arrange


def _customer_elsewhere(external_id: str) -> _Arrange:
    async def arrange(_: Conversation, own: _Organization) -> None:
        body = {"customer": {"external_id": external_id}}
        await own.elsewhere.call("POST", "/customers", body)

    return arrange


def _plan_elsewhere(code: str) -> _Arrange:
    async def arrange(_: Conversation, own: _Organization) -> None:
        plan = {"name": code, "code": code, "interval": "monthly", "amount_cents": 0}
        body = {"plan": {**plan, "amount_currency": "EUR", "pay_in_advance": False}}
        await own.elsewhere.call("POST", "/plans", body)

    return arrange


_PATTERNS: Patterns[_Arrange] = [
    (re.compile(r"API key whose permissions exclude write on \w+(?: \(.*\))?"), lambda: _read_only),
    (re.compile(r"metric (?:code )?(\S+) exists in another organization"), _metric_elsewhere),
    (re.compile(r"plan (?:code )?(\S+) exists in another organization"), _plan_elsewhere),
    (re.compile(r"customer (\S+) exists in another organization"), _customer_elsewhere),
]
