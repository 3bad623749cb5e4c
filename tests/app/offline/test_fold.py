"""The offline fold against a partition that is fed one event at a time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.offline import arrival_log, fold
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival
from bench.growth.spent import steps_of
from tables.partition.intake import RefusedArrival
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    METRICS,
    ORG,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
    logged,
    subscription_body,
)
from tests.world.events import arrivals, arrived
from tests.world.partition import Live
from tests.world.profiles import examples

ALL = tuple(METRICS)
OTHER = "other"
END_MS = START_MS + 8 * WEEK_MS


def with_another_subscription(base: list[CommandAt]) -> list[CommandAt]:
    """A second subscription, whose periods end at other hours."""
    customer = {"external_id": "customer-2", "timezone": "America/Los_Angeles"}
    body = subscription_body(external_id=OTHER, external_customer_id="customer-2")
    more = [commands.upsert_customer(ORG, customer), commands.create_subscription(ORG, body)]
    then_ms = base[-1].append_time_ms
    return lines(
        [
            *((line.append_time_ms, line.command) for line in base),
            *((then_ms, command) for command in more),
        ]
    )


def folded(
    definitions: Iterable[CommandAt],
    events: Iterable[Arrival],
    at_ms: int = END_MS,
) -> OfflineMeter:
    meter = OfflineMeter()
    meter.run(
        logged(definitions),
        [EventLine(a.append_time_ms, a.raw_partition, a.raw_offset, a.event.body) for a in events],
        at_ms,
    )
    return meter


@examples(120)
@given(st.sampled_from([1, 3, 1000]), st.sampled_from([0, 2, 1000]), st.data())
def test_records_are_those_of_a_live_partition(
    slice_events: int, in_memory: int, data: st.DataObject
) -> None:
    definitions = with_another_subscription(data.draw(changing_definitions(ALL)))
    events = data.draw(arrivals(ALL, external_ids=(SUBSCRIPTION, OTHER)))
    live = Live(definitions)
    for arrival in sorted(events, key=lambda a: a.position):
        live.close_until(arrival.append_time_ms - 1)
        live.define_until(arrival.append_time_ms)
        live.deliver([arrival])
    live.close_until(END_MS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "_SLICE_EVENTS", slice_events)
        patch.setattr(arrival_log, "IN_MEMORY", in_memory)
        meter = folded(definitions, events)
    assert sorted(record.value for record in meter.records) == live.values()


@pytest.mark.parametrize("slice_events", [1, 1000])
@pytest.mark.parametrize("in_memory", [0, 1000])
def test_a_repeated_id_with_another_body_is_refused(
    slice_events: int, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [
        arrived("sum", number, START_MS, transaction_id=name, external_id=whose, v=value)
        for number, (name, whose, value) in enumerate(
            [
                ("a", SUBSCRIPTION, "1"),
                ("b", SUBSCRIPTION, "1"),
                ("a", SUBSCRIPTION, "2"),
                ("b", SUBSCRIPTION, "1"),
                ("a", OTHER, "3"),
                ("b", SUBSCRIPTION, "4"),
            ]
        )
    ]
    # The same one in other bytes: whoever sends it spells it otherwise.
    spelled = replace(sent[1].event, body=sent[1].event.body + b" ")
    sent.append(replace(sent[1], event=spelled, raw_offset=6))
    monkeypatch.setattr(fold, "_SLICE_EVENTS", slice_events)
    monkeypatch.setattr(arrival_log, "IN_MEMORY", in_memory)
    meter = folded(with_another_subscription(definitions_of(["sum"])), sent)
    assert [
        (one.arrival.raw_offset, one.code)
        for one in meter.refused
        if isinstance(one, RefusedArrival)
    ] == [(2, "conflicting_duplicate"), (5, "conflicting_duplicate")]
    assert len(meter.refused) == 2


def test_a_late_event_is_revised_though_another_subscription_closes_later() -> None:
    """Both lie in one slice; the cut of the late one comes before the other's period is due."""
    definitions = with_another_subscription(definitions_of(["sum"]))
    due_ms = START_MS + WEEK_MS
    late = arrived("sum", due_ms + 1, START_MS, due_ms + 1, transaction_id="late", v="1")
    after = arrived(
        "sum",
        due_ms + DAY_MS,
        due_ms + DAY_MS,
        due_ms + DAY_MS,
        transaction_id="after",
        external_id=OTHER,
        v="1",
    )
    meter = folded(definitions, [late, after])
    bodies = [msgspec.json.decode(record.value) for record in meter.records]
    # Nothing was used when the period was due, so the late event makes revision 0.
    (recorded,) = [
        body
        for body in bodies
        if body["type"] == "usage.recorded" and body["external_subscription_id"] == SUBSCRIPTION
    ]
    assert recorded["units"] == "1.0"
    assert recorded["closed_at"] == "2024-01-08T01:00:00.000Z"


def test_a_subscription_costs_the_same_beside_ten_times_as_many() -> None:
    def steps(subscriptions: int) -> int:
        """Of definitions, an event after each, and the end of a week."""
        base = definitions_of(["sum"])
        at_ms = base[-1].append_time_ms
        told = [(line.append_time_ms, line.command) for line in base]
        events = []
        for number in range(subscriptions):
            at_ms += 1_000
            body = subscription_body(external_id=f"sub_{number}", billing_time="anniversary")
            told.append((at_ms, commands.create_subscription(ORG, body)))
            events.append(arrived("sum", at_ms + 1, at_ms, at_ms + 1, v="1"))
        meter, logs = OfflineMeter(), logged(lines(told))
        values = [EventLine(e.append_time_ms, 0, n, e.event.body) for n, e in enumerate(events)]
        taken = steps_of(lambda: meter.run(logs, values, START_MS + WEEK_MS + DAY_MS))
        assert len(meter.records) >= subscriptions
        return taken

    few, many = steps(15), steps(150)
    assert many < 12 * few


def test_what_is_appended_later_does_not_count() -> None:
    definitions = definitions_of(["sum"])
    events = [
        arrived(
            "sum", START_MS + HOUR_MS, START_MS, START_MS + HOUR_MS, transaction_id="in", v="1"
        ),
        arrived(
            "sum",
            START_MS + HOUR_MS + 1,
            START_MS,
            START_MS + HOUR_MS + 1,
            transaction_id="out",
            v="1",
        ),
    ]
    meter = folded(definitions, events, START_MS + HOUR_MS)
    usage = meter.usage((ORG, SUBSCRIPTION), START_MS + HOUR_MS)
    assert usage is not None
    assert [str(row.units) for row in usage.rows] == ["1"]
    assert usage.as_of.append_time_ms == START_MS + HOUR_MS


def test_append_times_ascend_along_a_partition() -> None:
    """A record whose stamp goes back was appended when the one before it was."""
    definitions = definitions_of(["sum"])
    due_ms = START_MS + WEEK_MS
    first = arrived("sum", due_ms + 1, START_MS, due_ms + 1, transaction_id="a", v="1")
    second = replace(
        arrived("sum", due_ms - 1, START_MS, due_ms - 1, transaction_id="b", v="1"),
        raw_offset=due_ms + 2,
    )
    meter = folded(definitions, [first, second])
    bodies = [msgspec.json.decode(record.value) for record in meter.records]
    units = [body["units"] for body in bodies if body["type"] == "usage.recorded"]
    assert units == ["2.0"]
    assert not any(body["type"] == "usage.revised" for body in bodies)


def test_progress_counts_every_record() -> None:
    definitions = definitions_of(["sum"])
    meter = OfflineMeter()
    applied: list[int] = []
    logs = logged(definitions)
    meter.run(logs, [EventLine(START_MS, 0, 0, b"{}")], END_MS, applied.append)
    assert sum(applied) == len(definitions) + 1
    assert len(meter.refused) == 1


def test_the_first_settings_hold_for_events_that_were_there_before() -> None:
    """A topic may be older than the program."""
    settings_of = SettingsRecord(close_grid_s=60, default_organization_id=ORG)
    definitions = definitions_of(["count"], settings_of)
    before_ms = definitions[0].append_time_ms - HOUR_MS
    event = {
        "external_subscription_id": SUBSCRIPTION,
        "transaction_id": "t",
        "code": "count",
        "timestamp": START_MS // 1000,
    }
    meter = OfflineMeter()
    meter.run(
        logged(definitions),
        [EventLine(before_ms, 0, 0, msgspec.json.encode(event))],
        START_MS + DAY_MS,
    )
    assert not meter.refused
    usage = meter.usage((ORG, SUBSCRIPTION), START_MS + DAY_MS)
    assert usage is not None
    assert [row.events_count for row in usage.rows] == [1]
