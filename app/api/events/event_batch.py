"""`POST /events/batch` (metering-semantics §2.4, state §9): checked at every owner, one record."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.api.answering.call import Call, Reply
from app.api.answering.peers import Outgoing, ask, forward, owner_elsewhere, value_of
from app.api.events.event_input import BatchBody, EventFields, InvalidEvent, read_event
from app.api.events.event_json import (
    created_json,
    duplicate_header,
    evaluation_message,
    position_header,
    problem,
    with_expression,
)
from app.api.http import json_text
from app.api.http.errors import FieldErrors, invalid, too_large
from app.bounds.limits import BODY_BYTES
from app.expressions import EvaluationFailed
from app.meter.events import Accepted, Duplicate, Pending, Verdict
from app.numbers import plain
from app.wire.encode import IncomingEvent, as_event
from app.wire.identity import same_body

Problem = FieldErrors | str


class _Batch:
    """A batch on its way: elements, what is wrong with them by index, and the verdicts."""

    def __init__(self, events: list[IncomingEvent | None]) -> None:
        self.events = events
        self.problems: dict[int, Problem] = {}
        self.duplicates: list[Duplicate] = []
        self.shown: dict[int, msgspec.Raw] = {}

    def refuse(self, index: int, verdict: Verdict | None) -> None:
        """Note what a verdict means for an element; nothing if it is fine."""
        found = None if verdict is None else problem(verdict)
        if found is None:
            return
        self.problems[index] = found
        if isinstance(verdict, Duplicate):
            self.duplicates.append(verdict)

    def standing(self) -> dict[int, IncomingEvent]:
        """Return the elements without any error."""
        return {
            index: event
            for index, event in enumerate(self.events)
            if event is not None and index not in self.problems
        }

    def stop_if(self, refused: bool) -> None:
        """Answer 422 with every problem found so far."""
        if refused:
            error = invalid({str(index): self.problems[index] for index in sorted(self.problems)})
            error.headers |= duplicate_header(self.duplicates)
            raise error


async def create(call: Call) -> Any:
    """Append up to `max_batch` events as one record: all or, unless `?partial=true`, none.

    `?dry_run=true` only says what would be refused of the events at home on this worker.
    """
    batch = _read_batch(call, await _elements(call))
    partial, dry_run = call.query.flag("partial"), call.query.flag("dry_run")
    batch.stop_if(bool(batch.problems) and not partial)
    _find_repetitions(batch)
    owners = {} if dry_run else _owners(call, batch)
    remote = set(owners.values()) - {None}
    if remote and len(set(owners.values())) == 1:
        return await forward(call, next(iter(remote)) or "")
    # What is appended here is checked before that: only others have to be asked beside it, and what
    # is wrong with this one has to be told with what is wrong with that one.
    if dry_run or remote or (batch.problems and not partial):
        await _check(call, batch, owners)
    batch.stop_if(bool(batch.problems) and not (partial and batch.standing()))
    if dry_run:
        return {"events": []}
    verdicts = await _ingest(call, batch, partial)
    batch.stop_if(not any(isinstance(taken, Accepted | Pending) for taken in verdicts.values()))
    return _batch_reply(call, batch, verdicts)


async def _elements(call: Call) -> list[msgspec.Raw]:
    body = await call.json()
    events = body.get("events") if isinstance(body, dict) else None
    if not isinstance(events, list) or not events:
        raise invalid({"events": ["no_events"]})
    if len(events) > call.api.max_batch:
        raise invalid({"events": ["too_many_events"]})
    if not call.forwarded:
        call.count_events(len(events))
    return json_text.decode_as(await call.body(), BatchBody).events


def _read_batch(call: Call, elements: Sequence[msgspec.Raw]) -> _Batch:
    batch = _Batch([None] * len(elements))
    now_ms = call.now_ms
    for index, element in enumerate(elements):
        try:
            fields = msgspec.json.decode(element, type=EventFields)
            event = read_event(fields, now_ms)
            batch.shown[index] = with_expression(call, event)
            batch.events[index] = event
        except msgspec.ValidationError:
            batch.problems[index] = {"event": ["value_is_invalid"]}
        except InvalidEvent as error:
            batch.problems[index] = error.errors
        except EvaluationFailed as error:
            batch.problems[index] = evaluation_message(error)
    return batch


def _find_repetitions(batch: _Batch) -> None:
    """Refuse in a batch all but the first event of a transaction_id, whatever the subscription."""
    first: dict[str, IncomingEvent] = {}
    for index, event in batch.standing().items():
        earlier = first.setdefault(event.transaction_id, event)
        if earlier is not event:
            batch.refuse(
                index, Duplicate("identical" if _is_same(earlier, event) else "conflicting")
            )


def _is_same(one: IncomingEvent, other: IncomingEvent) -> bool:
    return one.external_subscription_id == other.external_subscription_id and same_body(
        as_event("", one), as_event("", other)
    )


def _owners(call: Call, batch: _Batch) -> dict[str, str | None]:
    subscriptions = {event.external_subscription_id for event in batch.standing().values()}
    return {subscription: owner_elsewhere(call, subscription) for subscription in subscriptions}


async def _check(call: Call, batch: _Batch, owners: Mapping[str, str | None]) -> None:
    """Ask every owner what it has against its elements, before anything is appended."""
    by_owner: defaultdict[str | None, dict[int, IncomingEvent]] = defaultdict(dict)
    for index, event in batch.standing().items():
        by_owner[owners.get(event.external_subscription_id)][index] = event
    await asyncio.gather(
        *(_check_at(call, batch, owner, events) for owner, events in by_owner.items())
    )


async def _check_at(
    call: Call, batch: _Batch, owner: str | None, events: Mapping[int, IncomingEvent]
) -> None:
    if owner is None:
        verdicts = await call.meter.ingest.check(call.organization_id, list(events.values()))
        for index, verdict in zip(events, verdicts, strict=True):
            batch.refuse(index, verdict)
        return
    body = json_text.encode({"events": [_resent(event) for event in events.values()]})
    reply = await ask(call, owner, Outgoing("POST", "/api/v1/events/batch?dry_run=true", body))
    if reply.status == 422:
        details = json_text.decode(reply.body)["error_details"]
        indexes = list(events)
        batch.problems |= {indexes[int(position)]: found for position, found in details.items()}
        kind = reply.headers.get("Meter-Duplicate")
        if kind is not None:
            batch.duplicates.append(
                Duplicate("conflicting" if kind == "conflicting" else "identical")
            )
        return
    if reply.status == 413:
        # Spelled out for the question, with every field, they are a little larger than they came.
        raise too_large(BODY_BYTES)
    value_of(reply)


def _resent(event: IncomingEvent) -> dict[str, Any]:
    precise = event.precise_total_amount_cents
    return {
        "transaction_id": event.transaction_id,
        "code": event.code,
        "external_subscription_id": event.external_subscription_id,
        "timestamp": None if event.timestamp is None else msgspec.Raw(event.timestamp),
        "properties": msgspec.Raw(event.properties),
        "precise_total_amount_cents": None if precise is None else plain(precise),
    }


async def _ingest(call: Call, batch: _Batch, partial: bool) -> dict[int, Verdict]:
    standing = batch.standing()
    found = await call.meter.ingest.append(call.organization_id, list(standing.values()), partial)
    verdicts = dict(zip(standing, found, strict=True))
    for index, verdict in verdicts.items():
        batch.refuse(index, verdict)
    return verdicts


def _batch_reply(call: Call, batch: _Batch, verdicts: Mapping[int, Verdict]) -> Reply:
    """Return the events taken, in input order; beside them what lost a race after the append."""
    body: dict[str, Any] = {
        "events": [
            created_json(call, event, batch.shown[index], verdicts[index])
            for index, event in batch.standing().items()
        ]
    }
    if batch.problems:
        body["error_details"] = {str(i): batch.problems[i] for i in sorted(batch.problems)}
    headers = duplicate_header(batch.duplicates) | position_header(list(verdicts.values()))
    return Reply.json(body, headers)
