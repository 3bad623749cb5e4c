"""History records: what they make of published periods, byte by byte (records-and-cuts §7)."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.files import DefinitionLine
from app.definitions.periods import NEVER_MS
from app.offline.fold import EventLine, OfflineMeter
from app.runtime.topics.published_topic import put_again
from app.wire.arrivals import Arrival
from tables.changelogged.published import PublishedTable
from tables.closing.close import entering_history, settle
from tables.closing.schedule import Schedule
from tables.partition.redirection import refolds_of
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.corrections import used
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import cancel, event, raw
from tests.world.partition import Live
from tests.world.past import past_usage

MONDAY_MS = START_MS + WEEK_MS
"""The first week is over."""
LATER_MS = MONDAY_MS + 2 * HOUR_MS + 1
AT_MS = LATER_MS + WEEK_MS

Appended = tuple[int, dict[str, Any]]


class World:
    """The usual definitions, what is changed of them later, and the events."""

    def __init__(self, *codes: str):
        self.codes = codes
        made = definitions_of(codes)
        self.lines = [(line.append_time_ms, line.command) for line in made]
        self.charges = next(
            line.command.payload["plan"]["charges"]
            for line in made
            if line.command.type == "create_plan"
        )
        self.metric_ids = {
            line.command.payload["billable_metric"]["code"]: line.command.payload["id"]
            for line in made
            if line.command.type == "create_billable_metric"
        }
        self.events: list[Appended] = []

    def charge(self, code: str) -> dict[str, Any]:
        """A charge as it is kept by an update of the plan."""
        body = next(c for c in self.charges if c["code"] == code)
        kept = {key: value for key, value in body.items() if key != "new_id"}
        return {**kept, "id": body["new_id"]}

    def charge_id(self, code: str) -> str:
        return str(self.charge(code)["id"])

    def define(self, at_ms: int, *made: Command) -> None:
        self.lines += [(at_ms, command) for command in made]

    def update_plan(self, at_ms: int, *charges: dict[str, Any]) -> None:
        self.define(at_ms, commands.update_plan(ORG, "plan", {"charges": list(charges)}))

    def history(
        self,
        at_ms: int,
        *,
        code: str | None = None,
        charge_ids: tuple[str, ...] = (),
        from_ms: int = START_MS,
        to_ms: int = START_MS + WEEK_MS,
    ) -> int:
        """Append a history record; its offset."""
        ids = () if code is None else (self.metric_ids[code],)
        self.define(
            at_ms,
            commands.apply_history(
                ORG, metric_ids=ids, charge_ids=charge_ids, from_ms=from_ms, to_ms=to_ms
            ),
        )
        return len(self.lines) - 1

    def send(self, *appended: Appended) -> None:
        self.events += appended

    def fold(self, at_ms: int = AT_MS) -> OfflineMeter:
        meter = OfflineMeter()
        numbered = enumerate(self.lines)
        definitions = [DefinitionLine(at_ms, n, each.encode()) for n, (at_ms, each) in numbered]
        events = [
            EventLine(append_time_ms, 0, offset, msgspec.json.encode(value))
            for offset, (append_time_ms, value) in enumerate(self.events)
        ]
        meter.run(definitions, events, at_ms)
        assert not meter.rejected
        return meter

    def records(self, at_ms: int = AT_MS) -> list[dict[str, Any]]:
        return [msgspec.json.decode(record.value) for record in self.fold(at_ms).records]


def first_week(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r for r in records if r["period"]["from"] == "2024-01-01T00:00:00Z"]


def cells(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r for r in records if r["type"] != "period.completed"]


def shown(record: dict[str, Any]) -> tuple[Any, ...]:
    groups = "".join(f"{k}={v}" for k, v in (record["grouped_by"] or {}).items())
    return record["revision"], groups, record["units"], record["previous_units"]


def grouped(world: World, *keys: str) -> dict[str, Any]:
    properties = {"amount": "1", **({"pricing_group_keys": list(keys)} if keys else {})}
    return {**world.charge("sum"), "properties": properties}


def two_groups() -> World:
    world = World("sum")
    world.send(
        (START_MS + DAY_MS, used("a", "5", g="x", h="p")),
        (START_MS + DAY_MS, used("b", "7", g="y", h="p")),
    )
    return world


def test_a_changed_definition_alone_leaves_what_is_published() -> None:
    world = two_groups()
    before = first_week(world.records())
    world.update_plan(LATER_MS, grouped(world))
    assert first_week(world.records()) == before


def test_a_history_record_revises_what_is_published_at_the_next_cut() -> None:
    world = two_groups()
    world.update_plan(LATER_MS, grouped(world))
    offset = world.history(LATER_MS + 5, code="sum")
    week = first_week(world.records())
    cut_0 = [r["definitions_offset"] for r in week if r["closed_at"] == week[0]["closed_at"]]
    assert len(set(cut_0)) == 1
    revised = [r for r in week if r["closed_at"] != week[0]["closed_at"]]
    assert {r["closed_at"] for r in revised} == {"2024-01-08T03:00:00.000Z"}
    assert {r["definitions_offset"] for r in revised} == {offset}
    assert sorted(map(shown, cells(revised))) == [
        (0, "", "12.0", None),
        (1, "g=x", "0.0", "5.0"),
        (1, "g=y", "0.0", "7.0"),
    ]
    for record in cells(revised):
        if record["revision"] == 0:
            assert (record["type"], record["revision_reason"]) == ("usage.recorded", None)
            continue
        assert (record["type"], record["revision_reason"]) == ("usage.revised", "definition")
        assert (record["delta_units"], record["events_count"]) == (
            f"-{record['previous_units']}",
            0,
        )
        assert record["digest"] == "0" * 32
    (completed,) = [r for r in revised if r["type"] == "period.completed"]
    assert (completed["revision"], completed["records_count"]) == (1, 3)
    assert int(completed["digest"], 16) == sum(int(r["digest"], 16) for r in cells(revised))


def test_periods_out_of_its_range_and_other_metrics_stay() -> None:
    world = World("sum", "count")
    world.send(
        (START_MS + DAY_MS, used("a", "5", g="x")),
        (START_MS + DAY_MS, used("b", "5", code="count")),
        (MONDAY_MS + DAY_MS, used("c", "5", MONDAY_MS + DAY_MS, g="x")),
    )
    at_ms = MONDAY_MS + WEEK_MS + HOUR_MS
    world.update_plan(at_ms, grouped(world))
    world.history(at_ms + 1, code="sum", from_ms=START_MS + 1, to_ms=START_MS + 2 * WEEK_MS)
    revised = [r for r in cells(world.records(at_ms + DAY_MS)) if r["closed_at"] > "2024-01-15T00"]
    assert {r["period"]["from"] for r in revised} == {
        "2024-01-08T00:00:00Z",
    } | {r["period"]["from"] for r in revised if r["closed_at"].startswith("2024-01-15T00:00")}
    late = [r for r in revised if r["closed_at"] > "2024-01-15T01"]
    assert [r["billable_metric"]["code"] for r in late] == ["sum", "sum"]
    assert {r["period"]["from"] for r in late} == {"2024-01-08T00:00:00Z"}


def test_a_period_not_yet_due_folds_under_its_own_definitions() -> None:
    world = two_groups()
    world.history(MONDAY_MS - HOUR_MS, code="sum")
    world.update_plan(MONDAY_MS - 1, grouped(world))
    (record,) = cells(first_week(world.records()))
    assert shown(record) == (0, "", "12.0", None)
    assert record["definitions_offset"] == len(world.lines) - 1


def test_late_events_and_corrections_after_it_fold_under_it() -> None:
    world = two_groups()
    world.update_plan(LATER_MS, grouped(world))
    offset = world.history(LATER_MS + 5, code="sum")
    world.send((LATER_MS + HOUR_MS, used("c", "1", g="x")))
    world.send((LATER_MS + 2 * HOUR_MS, cancel("a", "k")))
    whole = [r for r in cells(first_week(world.records())) if r["grouped_by"] is None]
    assert [(*shown(r), r["revision_reason"]) for r in whole] == [
        (0, "", "12.0", None, None),
        (1, "", "13.0", "12.0", "late_events"),
        (2, "", "8.0", "13.0", "correction"),
    ]
    assert {r["definitions_offset"] for r in whole} == {offset}


def test_a_cut_before_the_record_folds_under_the_old_definitions() -> None:
    """The late event's cut is before the record: it folds under the old definitions there."""
    world = two_groups()
    world.send((LATER_MS - HOUR_MS, used("c", "1", g="x")))
    world.update_plan(LATER_MS, grouped(world))
    world.history(LATER_MS + 5, code="sum")
    week = cells(first_week(world.records()))
    assert [shown(r) for r in week if r["closed_at"].startswith("2024-01-08T02:00")] == [
        (1, "g=x", "6.0", "5.0")
    ]
    assert sorted(shown(r) for r in week if r["closed_at"].startswith("2024-01-08T03:00")) == [
        (0, "", "13.0", None),
        (1, "g=y", "0.0", "7.0"),
        (2, "g=x", "0.0", "6.0"),
    ]


def test_other_keys_with_the_same_values_are_other_cells_and_come_back_as_revisions() -> None:
    world = World("sum")
    world.send((START_MS + DAY_MS, used("a", "5", g="x", h="x")))
    world.update_plan(LATER_MS, grouped(world, "h"))
    world.history(LATER_MS, code="sum")
    world.update_plan(LATER_MS + HOUR_MS, grouped(world, "g"))
    world.history(LATER_MS + HOUR_MS, code="sum")
    week = cells(first_week(world.records()))
    assert [shown(r) for r in week if r["grouped_by"] == {"g": "x"}] == [
        (0, "g=x", "5.0", None),
        (1, "g=x", "0.0", "5.0"),
        (2, "g=x", "5.0", "0.0"),
    ]
    assert [shown(r) for r in week if r["grouped_by"] == {"h": "x"}] == [
        (0, "h=x", "5.0", None),
        (1, "h=x", "0.0", "5.0"),
    ]
    assert len({r["cell_id"] for r in week}) == 2


def test_a_charge_that_is_gone_is_revised_to_nothing_and_a_new_one_is_recorded() -> None:
    world = World("sum", "count")
    world.send(
        (START_MS + DAY_MS, used("a", "5")), (START_MS + DAY_MS, used("b", "5", code="count"))
    )
    (new,) = plan_body(["count"])["charges"]
    world.update_plan(LATER_MS, world.charge("count"), {**new, "code": "new"})
    world.history(LATER_MS + 5, code="sum")
    world.history(LATER_MS + 6, code="count")
    week = cells(first_week(world.records()))
    revised = [r for r in week if r["closed_at"].startswith("2024-01-08T03:00")]
    found = {(r["billable_metric"]["code"], shown(r)) for r in revised}
    assert found == {("sum", (1, "g=None", "0.0", "5.0")), ("count", (0, "", "1.0", None))}
    (gone,) = [r for r in revised if r["billable_metric"]["code"] == "sum"]
    assert gone["lago_charge_id"] == world.charge_id("sum")
    (recorded,) = [r for r in revised if r["billable_metric"]["code"] == "count"]
    assert recorded["lago_charge_id"] != world.charge_id("count")


def test_a_filter_that_is_gone_is_named_in_its_last_revision() -> None:
    world = World("filtered")
    world.send((START_MS + DAY_MS, used("a", "5", code="filtered", g="x", u="b")))
    body = metric_body("filtered", filters=[{"key": "g", "values": ["y"]}])
    world.define(LATER_MS, commands.update_billable_metric(ORG, "filtered", body))
    world.history(LATER_MS + 5, code="filtered")
    week = cells(first_week(world.records()))
    first, *revised = week
    (gone,) = [r for r in revised if r["cell_id"] == first["cell_id"]]
    assert shown(gone) == (1, "", "0.0", "5.0")
    for field in ("lago_charge_filter_id", "filters"):
        assert gone[field] == first[field]
        assert gone[field] is not None
    (whole,) = [r for r in revised if r["cell_id"] != first["cell_id"]]
    assert shown(whole) == (0, "", "5.0", None)


def test_a_recurring_metric_folds_all_history_in_the_periods_covered_only() -> None:
    """Weeks 1 to 3 are published; the record is about the second."""
    world = World("balance")
    world.send(
        (START_MS + DAY_MS, used("a", "5", code="balance", g="x")),
        (MONDAY_MS + DAY_MS, used("b", "7", MONDAY_MS + DAY_MS, "balance", g="y")),
    )
    at_ms = START_MS + 3 * WEEK_MS + HOUR_MS
    charge = {
        **world.charge("balance"),
        "properties": {"amount": "1", "pricing_group_keys": ["g"]},
    }
    world.update_plan(at_ms, charge)
    world.history(at_ms, code="balance", from_ms=MONDAY_MS, to_ms=MONDAY_MS + 1)
    records = cells(world.records(at_ms + DAY_MS))
    revised = [r for r in records if r["definitions_offset"] == len(world.lines) - 1]
    assert {r["period"]["from"] for r in revised} == {"2024-01-08T00:00:00Z"}
    assert sorted(map(shown, revised)) == [
        (0, "g=x", "5.0", None),
        (0, "g=y", "7.0", None),
        (1, "", "0.0", "12.0"),
    ]


def test_the_newest_record_of_a_period_holds() -> None:
    world = two_groups()
    world.update_plan(LATER_MS, grouped(world))
    world.history(LATER_MS, code="sum")
    world.update_plan(LATER_MS + 1, grouped(world, "h"))
    offset = world.history(LATER_MS + 2, code="sum")
    week = cells(first_week(world.records()))
    revised = [r for r in week if r["closed_at"].startswith("2024-01-08T03:00")]
    assert sorted(map(shown, revised)) == [
        (0, "h=p", "12.0", None),
        (1, "g=x", "0.0", "5.0"),
        (1, "g=y", "0.0", "7.0"),
    ]
    assert {r["definitions_offset"] for r in revised} == {offset}


def test_a_record_that_changes_nothing_publishes_nothing() -> None:
    world = two_groups()
    before = first_week(world.records())
    world.history(LATER_MS, code="sum")
    assert first_week(world.records()) == before


def test_a_renamed_metric_alone_publishes_nothing_but_shows_in_the_next_revision() -> None:
    world = two_groups()
    before = first_week(world.records())
    body = metric_body("sum", name="renamed")
    world.define(LATER_MS, commands.update_billable_metric(ORG, "sum", body))
    world.history(LATER_MS, code="sum")
    assert first_week(world.records()) == before
    world.send((LATER_MS + 2 * HOUR_MS, used("c", "1", g="x")))
    newest = cells(first_week(world.records()))[-1]
    assert (newest["billable_metric"]["name"], newest["revision_reason"]) == (
        "renamed",
        "late_events",
    )


def test_past_usage_shows_the_groups_once_they_are_published() -> None:
    world = two_groups()
    world.update_plan(LATER_MS, grouped(world, "h"))
    world.history(LATER_MS + 5, code="sum")

    def week(at_ms: int) -> list[tuple[Any, ...]]:
        usage = past_usage(world.fold(at_ms).partition, (ORG, SUBSCRIPTION), at_ms)[-1]
        return sorted(
            (row.grouped_by, str(row.units), str(row.pending and row.pending.units))
            for row in usage.rows
        )

    assert week(LATER_MS + 10) == [
        ((("g", "x"),), "5.0", "0"),
        ((("g", "y"),), "7.0", "0"),
        ((("h", "p"),), "0.0", "12"),
    ]
    assert week(AT_MS) == [((("h", "p"),), "12.0", "None")]


@pytest.mark.parametrize("keys", [(), ("h",), ("h", "g"), ("g", "h")], ids=str)
def test_what_is_published_can_be_read_from_the_records_again(keys: tuple[str, ...]) -> None:
    world = two_groups()
    world.update_plan(LATER_MS, grouped(world, *keys))
    world.history(LATER_MS + 5, code="sum")
    world.update_plan(LATER_MS + HOUR_MS, grouped(world, "g"))
    world.history(LATER_MS + HOUR_MS, code="sum")
    meter = world.fold()
    found, loaded = PublishedTable(), PublishedTable()
    for record in meter.records:
        put_again(found, meter.definitions, record.value)
    assert found.sum == meter.partition.published.sum
    for key, value in found.take_changes().items():
        loaded.load_all([(key, value or b"")])
    drained(loaded.loading())
    for name, period in meter.partition.published.periods.items():
        assert loaded.find(name) == msgspec.structs.replace(period, packed={})


@pytest.mark.parametrize("moment", ["before", "entered", "swapped", "published"])
def test_a_restart_at_any_moment_changes_nothing(moment: str) -> None:
    expected = restarted_at("")
    assert len(cells([msgspec.json.decode(value) for value in expected])) == 5
    assert restarted_at(moment) == expected


BASE = definitions_of(["sum"])


def restarted_at(moment: str) -> list[bytes]:
    """Records when two groups become one, and there is a restart at a moment of it."""
    base = BASE
    (plan,) = [line.command for line in base if line.command.type == "create_plan"]
    (charge,) = plan.payload["plan"]["charges"]
    kept = {key: value for key, value in charge.items() if key != "new_id"}
    regrouped = {**kept, "id": charge["new_id"], "properties": {"amount": "1"}}
    live = Live(base)
    live.define_all()
    uses = [event("sum", name, START_MS + DAY_MS, v="5", g=name) for name in "xy"]
    live.deliver(
        [Arrival(use, ORG, START_MS + DAY_MS, 0, offset, 0) for offset, use in enumerate(uses)]
    )
    live.close_until(LATER_MS - 1)
    live.append(LATER_MS, commands.update_plan(ORG, "plan", {"charges": [regrouped]}))
    live.append(
        LATER_MS,
        commands.apply_history(
            ORG, charge_ids=[charge["new_id"]], from_ms=0, to_ms=START_MS + WEEK_MS
        ),
    )
    if moment == "before":
        live.restart()
    meter_keys = refolds_of(entering_history(live.partition))
    assert live.partition.checkpoint.cut_ms == LATER_MS - 1
    assert meter_keys == {(ORG, SUBSCRIPTION, "sum")}
    if moment == "entered":
        # Its cells were never swapped, so it has to begin again.
        live.restart()
        assert live.partition.standing.next_history_ms() == LATER_MS
    else:
        live.refold(meter_keys)
    if moment == "swapped":
        live.restart()
        assert live.partition.standing.next_history_ms() == NEVER_MS
    live.close_until(LATER_MS + HOUR_MS)
    if moment == "published":
        live.restart()
        assert not live.partition.cuts.late.by_name
    live.close_until(AT_MS)
    return live.values()


def test_records_of_one_millisecond_concern_their_own_periods() -> None:
    """Two weeks are over when the subscription is made, so both have the same due time."""
    world = World("sum", "max")
    made_ms = START_MS + 2 * WEEK_MS + HOUR_MS
    at_ms = made_ms + DAY_MS
    world.define(made_ms, commands.create_subscription(ORG, subscription_body(external_id="late")))
    for code, from_ms in product(("sum", "max"), (START_MS, MONDAY_MS)):
        sent = raw(code, f"{code}{from_ms}", from_ms + DAY_MS, "late", v="5", g="x")
        world.send((made_ms - HOUR_MS, sent))
    world.update_plan(at_ms, grouped(world))
    world.history(at_ms, code="sum")
    world.history(at_ms, code="max", from_ms=MONDAY_MS, to_ms=MONDAY_MS + WEEK_MS)
    revised = [
        (r["period"]["from"][:10], r["billable_metric"]["code"], r["revision_reason"])
        for r in cells(world.records(at_ms + DAY_MS))
        if r["type"] == "usage.revised"
    ]
    definition = "definition"
    assert sorted(revised) == [("2024-01-01", "sum", definition), ("2024-01-08", "max", definition)]


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_period_without_events_shows_it_from_its_cut_on(*, at_hand: bool) -> None:
    """Nothing is told of the period, and what a worker has at hand makes no difference."""
    live = Live(BASE)
    live.close_until(LATER_MS - 1)
    (codes,) = shown_charges(live)
    live.append(LATER_MS, commands.update_plan(ORG, "plan", {"charges": []}))
    ids = [line.command.payload["id"] for line in BASE if "metric" in line.command.type]
    record = commands.apply_history(ORG, metric_ids=ids, from_ms=START_MS, to_ms=MONDAY_MS)
    live.append(LATER_MS, record)
    if not at_hand:
        live.restart()
    assert not refolds_of(entering_history(live.partition))
    cut_ms = MONDAY_MS + 3 * HOUR_MS
    # Somebody else is due in between.
    settle(live.partition, cut_ms - 1)
    assert Schedule(live.partition, [(ORG, SUBSCRIPTION)]).next_ms() == cut_ms
    assert shown_charges(live) == [codes] == [["sum"]]
    told = live.values()
    live.close_until(cut_ms)
    assert shown_charges(live) == [[]]
    assert live.values() == told


def shown_charges(live: Live) -> list[list[str]]:
    """By period, codes of the charges that past usage shows."""
    past = past_usage(live.partition, (ORG, SUBSCRIPTION), LATER_MS)
    return [[in_force.charge.code for in_force in usage.charges] for usage in past]
