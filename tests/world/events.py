"""Events of the weekly plan: one by name, or any that a law draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st

from app.wire.arrivals import Arrival
from app.wire.decode import decode_record
from app.wire.events import Event
from tests.world.bodies import Json
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    WEEKS,
)


def raw(
    code: str,
    transaction_id: str,
    timestamp_ms: int | None,
    external_id: str = SUBSCRIPTION,
    **properties: Any,
) -> Json:
    """Return the raw record of an event; None leaves its timestamp out."""
    body = {**_named(transaction_id, external_id), "code": code, "properties": properties}
    if timestamp_ms is not None:
        body["timestamp"] = f"{timestamp_ms // 1000}.{timestamp_ms % 1000:03d}"
    return body


def cancel(transaction_id: str, correction_id: str = "c1", external_id: str = SUBSCRIPTION) -> Json:
    """Return the raw record that cancels an event."""
    named = _named(transaction_id, external_id)
    return {**named, "operation": "cancel", "correction_id": correction_id}


def amend(to: Json, correction_id: str = "c2") -> Json:
    """Return the raw record that amends the event of the same id."""
    named = _named(to["transaction_id"], to["external_subscription_id"])
    return {**named, "operation": "amend", "correction_id": correction_id, "event": to}


def _named(transaction_id: str, external_id: str) -> Json:
    return {
        "organization_id": ORG,
        "external_subscription_id": external_id,
        "transaction_id": transaction_id,
    }


def event(
    code: str,
    transaction_id: str,
    timestamp_ms: int | None,
    external_id: str = SUBSCRIPTION,
    *,
    amount: str | None = None,
    **properties: Any,
) -> Event:
    """Return an event as it is decoded from `raw`; `amount`: its precise_total_amount_cents."""
    body = raw(code, transaction_id, timestamp_ms, external_id, **properties)
    if amount is not None:
        body["precise_total_amount_cents"] = amount
    ((_, decoded),) = decode_record(msgspec.json.encode(body))
    assert isinstance(decoded, Event), decoded
    return decoded


def arrived(
    code: str,
    offset: int,
    at_ms: int,
    append_time_ms: int | None = None,
    *,
    transaction_id: str | None = None,
    external_id: str = SUBSCRIPTION,
    partition: int = 0,
    **properties: Any,
) -> Arrival:
    """Return an event where it stands in the log; it is appended when it happens, or later."""
    sent = event(code, transaction_id or f"t{offset}", at_ms, external_id, **properties)
    appended_ms = at_ms if append_time_ms is None else append_time_ms
    return Arrival(sent, ORG, appended_ms, partition, offset, 0)


_MINUTES_MS = [0, 60_000, 120_000, 120_001]
_TIMES_OF_DAY_MS = [0, 0, 1, 8 * HOUR_MS, DAY_MS - 1]
_STEPS_MS = st.one_of(
    st.sampled_from([0, 1, HOUR_MS, DAY_MS, 3 * DAY_MS, WEEK_MS, WEEK_MS + 60_000]),
    st.integers(0, WEEK_MS),
)
"""From one append to the next."""

DECIMALS = st.decimals(min_value=-20, max_value=20, places=2).map(str)


@st.composite
def arrivals(
    draw: st.DrawFn,
    codes: Sequence[str],
    *,
    max_events: int = 12,
    ids: int = 40,
    external_ids: Sequence[str] = (SUBSCRIPTION,),
) -> list[Arrival]:
    """Events of two raw partitions in position order: some late, some early, some repeated."""
    size = draw(st.integers(0, max_events))
    append_time_ms = START_MS
    offsets = [0, 0]
    rekeyed = 0
    made: list[Arrival] = []
    for _ in range(size):
        reached_ms = append_time_ms
        append_time_ms += draw(_STEPS_MS)
        if draw(st.integers(0, 2)) == 0:
            # In the minutes of grace after a period, where a late event meets a due time.
            week_ms = (append_time_ms - START_MS) // WEEK_MS * WEEK_MS + WEEK_MS
            append_time_ms = START_MS + week_ms + draw(st.sampled_from(_MINUTES_MS))
        append_time_ms = max(reached_ms, min(append_time_ms, START_MS + WEEKS * WEEK_MS + HOUR_MS))
        code = draw(st.sampled_from(codes))
        # At midnights often: where periods begin, and unique counts count days.
        day = draw(st.integers(-4, (append_time_ms - START_MS) // DAY_MS + 3))
        timestamp_ms = START_MS + day * DAY_MS + draw(st.sampled_from(_TIMES_OF_DAY_MS))
        properties: dict[str, Any] = {"v": draw(DECIMALS), "u": draw(st.sampled_from("abc"))}
        properties["operation_type"] = draw(st.sampled_from(["add", "remove", "add"]))
        if draw(st.booleans()):
            properties["g"] = draw(st.sampled_from(["x", "y", " "]))
        amount = draw(st.sampled_from([None, "0.0", "2.50", "-2.5"]))
        partition = draw(st.sampled_from([0, 0, 1]))
        identity = f"t{draw(st.integers(0, ids))}"
        made.append(
            Arrival(
                event(
                    code,
                    identity,
                    timestamp_ms,
                    draw(st.sampled_from(external_ids)),
                    amount=amount,
                    **properties,
                ),
                ORG,
                append_time_ms,
                partition,
                offsets[partition],
                0,
                rekeyed if partition else -1,
            )
        )
        offsets[partition] += 1
        rekeyed += partition
    return made


@st.composite
def slices(
    draw: st.DrawFn, events: Sequence[Arrival], *, shuffle: bool = True
) -> list[list[Arrival]]:
    """Any order of delivery, in any batches."""
    shuffled = draw(st.permutations(events)) if shuffle else list(events)
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    bounds = [0, *cuts, len(events)]
    return [list(shuffled[a:b]) for a, b in pairwise(bounds)]
