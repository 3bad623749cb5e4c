"""Limits that decide what counts hold for what is appended after a settings record says so."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.bounds.limits import EXPRESSION_NODES, VALUE_BYTES
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from app.wire.decode import decode_record
from app.wire.events import Event
from tables.reading.in_advance import estimated
from tables.reading.verification import Verification
from tests.world import bodies
from tests.world.begun import begun
from tests.world.bodies import charge
from tests.world.clock import DAY_MS, START_MS, ms
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.definitions_log import Log
from tests.world.events import amend, arrived, cancel, raw
from tests.world.partition import Live
from tests.world.story import Story

LIMITED = commands.set_settings(msgspec.structs.replace(SETTINGS, input_limits=1))
DEFINITIONS = {code: definitions_of([code]) for code in ("unique", "sum")}
USED_MS = START_MS + DAY_MS
LIMITED_MS = START_MS + 2 * DAY_MS
LONG = "x" * (VALUE_BYTES + 1)
LONGEST = "\u20ac" * (VALUE_BYTES // 3)


def live_of(code: str, sent: list[Arrival], *, known_first: bool) -> Live:
    live = Live(DEFINITIONS[code])
    live.define_all()
    if known_first:
        live.append(LIMITED_MS, LIMITED)
    live.deliver(sent)
    if not known_first:
        live.append(LIMITED_MS, LIMITED)
    return live


@pytest.mark.parametrize("known_first", [True, False], ids=["known", "learnt"])
@pytest.mark.parametrize(
    ("code", "longs", "longest"),
    [
        ("unique", {"u": LONG}, {"u": LONGEST}),
        ("sum", {"v": "1", "g": LONG}, {"v": "1", "g": LONGEST}),
    ],
    ids=["unique", "group"],
)
def test_a_value_that_is_too_long_counts_only_until_there_are_limits(
    code: str, longs: dict[str, Any], longest: dict[str, Any], known_first: bool
) -> None:
    sent = [
        arrived(code, 0, USED_MS, LIMITED_MS, **longs),
        arrived(code, 1, USED_MS, LIMITED_MS + 1, **longs),
        arrived(code, 2, USED_MS, LIMITED_MS + 2, **longest),
    ]
    live = live_of(code, sent, known_first=known_first)
    (span,) = live.partition.packing.route_of((ORG, SUBSCRIPTION, code)).spans
    (layer,) = span.layers.values()
    assert sum(cell.state.events for cell in layer.cells.values()) == 2
    assert live.cells() == live_of(code, sent, known_first=True).cells()
    if known_first:
        assert live.partition.ignored == {"value_too_long": 1}


def test_a_numeric_value_has_its_own_limit() -> None:
    live = live_of(
        "sum", [arrived("sum", 0, USED_MS, LIMITED_MS + 1, v="0" * 5_000)], known_first=True
    )
    assert not live.partition.ignored


def too_costly(**settings: Any) -> Story:
    """The attack by its numbers: a property of 800 KB, forty times in one value."""
    expression = f"concat({','.join(['event.properties.s'] * 40)})"
    story = Story(**settings)
    story.metric("m", "unique_count_agg", expression=expression, field_name="u")
    story.plan(charge()).subscribe()
    return story.send("2024-01-02", s="y" * 800_000).send("2024-01-03", s="y")


def test_an_expression_beyond_its_budget_ignores_the_event() -> None:
    meter = too_costly(input_limits=1).meter("2024-01-10")
    assert meter.partition.ignored == {"expression_too_costly": 1}
    assert not too_costly().meter("2024-01-10").partition.ignored


def thirds(**settings: Any) -> Story:
    """An hour in seconds, and parts of it that have an end as hours and that have none."""
    story = Story(**settings)
    story.metric("m", "sum_agg", expression="event.properties.s / 3600", field_name="h")
    story.plan(charge()).subscribe()
    for day, seconds in enumerate((3_600, 1_800, 600, 100), 2):
        story.send(f"2024-01-0{day}", s=seconds)
    return story


def test_a_quotient_without_an_end_is_rounded_to_the_digits_of_a_value() -> None:
    meter = thirds(input_limits=1).meter("2024-01-10")
    assert meter.partition.ignored == {"invalid_value": 2}
    meter = thirds(input_limits=2).meter("2024-01-10")
    assert not meter.partition.ignored
    (shown,) = thirds(input_limits=2).usage("2024-01-10")["charges_usage"]
    assert (shown["units"], shown["events_count"]) == ("1.69" + "4" * 35 + "5", 4)


def seconds(limits: int) -> dict[str, Any]:
    """Usage of one event of a whole second, by a text of its time, and of one a little later."""
    story = Story(input_limits=limits)
    text = "concat('at ', event.timestamp)"
    story.metric("m", "unique_count_agg", expression=text, field_name="u")
    story.plan(charge(properties={"amount": "1", "pricing_group_keys": ["u"]})).subscribe()
    story.send("2024-01-02").send("2024-01-02T00:00:00.500")
    (shown,) = story.usage("2024-01-10")["charges_usage"]
    return dict(shown)


@pytest.mark.parametrize(
    ("limits", "texts"),
    [
        (4, ["at 1704153600.000", "at 1704153600.500"]),
        (5, ["at 1704153600", "at 1704153600.5"]),
    ],
)
def test_the_time_of_an_event_is_written_as_lago_does(limits: int, texts: list[str]) -> None:
    groups = seconds(limits)["grouped_usage"]
    assert sorted(each["grouped_by"]["u"] for each in groups) == texts


def blanks(limits: int) -> Story:
    """A unique count paid in advance, of whom an empty text is taken in, out and in again."""
    story = Story(close_grid_s=60, input_limits=limits).metric("m", "unique_count_agg")
    story.plan({"pay_in_advance": True}).subscribe()
    story.send("2024-01-02", v="").send("2024-01-03", v="a")
    story.send("2024-01-04", v="", operation_type="remove")
    return story.send("2024-01-05", v="")


def billed(story: Story, at: str) -> list[tuple[str, str, str | None]]:
    """What records say: their type, units and what was billed in advance."""
    found = [json.loads(record.value) for record in story.meter(at).records]
    return [
        (record["type"], record["units"], record.get("billed_in_advance"))
        for record in found
        if record["type"] != "period.completed"
    ]


@pytest.mark.parametrize(("limits", "instants"), [(2, "1 1 0 0"), (3, "1")])
def test_an_empty_text_is_a_value_that_bills_nothing_at_once(limits: int, instants: str) -> None:
    found = billed(blanks(limits), "2024-02-02")
    assert found[:-1] == [("usage.instant", f"{units}.0", None) for units in instants.split()]
    assert found[-1] == ("usage.recorded", "2.0", "2.0" if limits == 2 else "1.0")


@pytest.mark.parametrize(("limits", "fees"), [(2, [1]), (3, [])])
def test_an_empty_text_has_an_estimate_where_it_is_billed_at_once(
    limits: int, fees: list[int]
) -> None:
    partition = blanks(limits).meter("2024-01-02").partition
    at_ms = ms("2024-02-03")
    ((_, event),) = decode_record(msgspec.json.encode(raw("m", "new", at_ms, v="")))
    assert isinstance(event, Event)
    found = drained(estimated(partition, (ORG, SUBSCRIPTION), Arrival(event, ORG, at_ms, 1, 0, 0)))
    assert [fee.units for fee in found] == fees


def test_what_an_empty_text_billed_before_its_time_stays() -> None:
    story = blanks(2)
    newer = SettingsRecord(close_grid_s=60, input_limits=3)
    story.define("2024-01-05T12:00:00", commands.set_settings(newer))
    story.send("2024-01-06", v="", operation_type="remove").send("2024-01-07", v="")
    story.send("2024-01-08", v="b").append("2024-01-09", cancel("t0"))
    story.append("2024-01-10", amend(raw("m", "t6", ms("2024-01-08"), v="")))
    assert billed(story, "2024-02-02") == [
        ("usage.instant", "1.0", None),
        ("usage.instant", "1.0", None),
        ("usage.instant", "0.0", None),
        ("usage.instant", "0.0", None),
        ("usage.instant", "1.0", None),
        ("usage.instant_revised", "0.0", None),
        ("usage.instant_revised", "0.0", None),
        ("usage.recorded", "2.0", "1.0"),
    ]
    verification = begun(Verification(story.meter("2024-02-02").partition, [(ORG, SUBSCRIPTION)]))
    verification.feed(story.arrivals())
    assert not any(compared.differences for compared in filter(None, verification.compare()))
    assert not any(verification.compare_published())


def test_the_result_that_groups_is_limited_too() -> None:
    story = Story(input_limits=1)
    expression = f"concat('1',{','.join(['event.properties.s'] * 150)})"
    story.metric("m", "sum_agg", expression=expression, field_name="v")
    story.plan(charge(properties={"pricing_group_keys": ["v"]})).subscribe()
    story.send("2024-01-02", s="1" * 30).send("2024-01-03", s="")
    assert story.meter("2024-01-10").partition.ignored == {"invalid_value": 1}


def test_too_many_nodes_are_refused_but_what_was_taken_stays_valid() -> None:
    log = Log()
    log.accept(commands.set_settings(SETTINGS))
    long = "+".join(["1"] * (EXPRESSION_NODES // 2 + 1))
    log.metric("old", expression=long)
    log.accept(LIMITED)
    body = bodies.metric("new", "count_agg", expression=long)
    refused = log.refuse(commands.create_billable_metric(ORG, body))
    assert refused.details == {"expression": ["invalid_expression"]}
    log.accept(commands.create_billable_metric(ORG, {**body, "expression": long[2:]}))


def test_limits_that_hold_are_never_lifted() -> None:
    log = Log()
    assert log.definitions.limited_after_ms() > log.now_ms
    log.accept(commands.set_settings(SETTINGS))
    log.now_ms += 5
    log.accept(LIMITED)
    assert log.definitions.limited_after_ms() == log.now_ms
    assert log.definitions.limited_after_ms(log.now_ms - 1) > log.now_ms
    refused = log.refuse(commands.set_settings(SETTINGS))
    assert refused.details == {"input_limits": ["value_cannot_be_changed"]}


def test_the_first_record_of_a_log_limits_everything() -> None:
    log = Log()
    log.accept(LIMITED)
    assert log.definitions.limited_after_ms() == -1
