"""api.json on real servers: one worker, an organization for each vector, in the order of time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientError, ClientSession

from app.api.vectors import Arranger, Conversation, Json, Skipped, check_api_vector
from app.definitions.instants import parse_iso8601_ms
from app.vectors.comparison import Difference
from app.vectors.directory import FileOutcome, Outcome
from app.vectors.files import InvalidVectors
from app.vectors.live_worker import Client, Servers, VectorClock, api_key, vector_worker

NOW = "2024-03-15T12:00:00Z"
"""When the vectors run that do not say."""

_FROZEN = "clock frozen at "


_DECIDED_OTHERWISE = {
    "subscription-terminate": (
        "body.subscription.terminated_at",
        "the record contract decides otherwise: terminated_at prints with milliseconds",
    ),
}
"""Where the vectors ask for what a document before them rules out: place and reason."""


class _Organization(NamedTuple):
    key: str
    reader_key: str
    elsewhere: Client
    """Another organization."""


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
    except (AssertionError, ClientError, KeyError) as error:
        return Outcome(name, [Difference("setup", "one that succeeds", str(error))])
    if isinstance(found, Skipped):
        return Outcome(name, [], found.reason)
    place, reason = _DECIDED_OTHERWISE.get(name, (None, None))
    if [line.partition(":")[0] for line in found] == [place]:
        return Outcome(name, [], reason)
    return Outcome(name, [Difference("answer", "as in expect", line) for line in found])


def clock_of(vector: Json) -> int:
    """The time at which a vector runs, in ms since the epoch."""
    for step in vector["setup"]:
        at_ms = parse_iso8601_ms(step.get("state", "").removeprefix(_FROZEN))
        if at_ms is not None:
            return at_ms
    at_ms = parse_iso8601_ms(NOW)
    if at_ms is None:
        raise AssertionError(NOW)
    return at_ms


def _arranger(own: _Organization) -> Arranger:
    async def arrange(conversation: Conversation, state: str) -> bool:
        if state.startswith(_FROZEN):
            return True
        named = _STATES.get(state)
        if named is not None:
            await named(conversation, own)
        return named is not None

    return arrange


async def _read_only(conversation: Conversation, own: _Organization) -> None:
    conversation.api_key = own.reader_key


async def _private_elsewhere(_: Conversation, own: _Organization) -> None:
    metric = {"name": "p", "code": "private", "aggregation_type": "count_agg"}
    await own.elsewhere.call("POST", "/billable_metrics", {"billable_metric": metric})


async def _api_calls(conversation: Conversation, _: _Organization) -> None:
    metric = {"name": "api_calls", "code": "api_calls", "aggregation_type": "count_agg"}
    made = await conversation.must("POST", "/api/v1/billable_metrics", {"billable_metric": metric})
    ranges = [{"from_value": 0, "to_value": None, "per_unit_amount": "0.01", "flat_amount": "0.01"}]
    charge = {
        "billable_metric_id": made["billable_metric"]["lago_id"],
        "charge_model": "graduated",
        "properties": {"graduated_ranges": ranges},
    }
    await _subscribe(conversation, [charge], "2022-03-15T00:00:00Z")
    for number in range(4):
        event = {
            "transaction_id": f"t{number}",
            "code": "api_calls",
            "external_subscription_id": "sub_1",
        }
        await conversation.must("POST", "/api/v1/events", {"event": event})


async def _mid_period(conversation: Conversation, _: _Organization) -> None:
    await _subscribe(conversation, [], "2024-03-10T09:30:00Z")


async def _subscribe(conversation: Conversation, charges: list[Any], since: str) -> None:
    plan = {
        "name": "p",
        "code": "p",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }
    await conversation.must("POST", "/api/v1/plans", {"plan": plan})
    subscription = {
        "external_customer_id": "cust_1",
        "external_id": "sub_1",
        "plan_code": "p",
        "billing_time": "calendar",
        "subscription_at": since,
    }
    await conversation.must("POST", "/api/v1/subscriptions", {"subscription": subscription})


_STATES: Mapping[str, Callable[[Conversation, _Organization], Awaitable[None]]] = {
    "API key whose permissions exclude write on billable_metric (paid option)": _read_only,
    "metric code private exists in another organization": _private_elsewhere,
    "EUR monthly calendar plan, in arrears; graduated charge on count metric api_calls: one open "
    "range 0.., per_unit_amount 0.01, flat_amount 0.01; sub_1 of cust_1 started 2022-03-15; tax "
    "20%; 4 events api_calls now; clock 2024-03-15T12:00:00Z": _api_calls,
    "monthly calendar plan; sub_1 started 2024-03-10T09:30:00Z; clock 2024-03-15": _mid_period,
}
