"""What waits for a grid cut shows in no cell before it (records-and-cuts §4)."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.closing.changed import changed_at
from tables.closing.close import entering_history, settle
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    definitions_of,
    subscription_body,
)
from tests.world.events import arrived, event
from tests.world.partition import Live

ALERT = {
    "alert_type": "billable_metric_current_usage_units",
    "code": "a",
    "billable_metric_code": "sum",
    "thresholds": [{"value": "1"}],
}
NOW_MS = START_MS + WEEK_MS + 3 * DAY_MS
"""A grid cut; the first week is published."""


class Watched(Live):
    """One subscription with an alert and an event; definitions are looked at when it is asked."""

    def __init__(self) -> None:
        base = definitions_of(["sum", "count"])
        super().__init__(base)
        self.define_all()
        (plan,) = [line.command for line in base if line.command.type == "create_plan"]
        self._charge, self.count = plan.payload["plan"]["charges"]
        self.charge_id = self._charge["new_id"]
        self.append(START_MS + HOUR_MS, commands.create_alert(ORG, SUBSCRIPTION, ALERT))
        used = event("sum", "t", START_MS + DAY_MS, v="5", g="x", u="a", operation_type="c")
        self.deliver([Arrival(used, ORG, START_MS + DAY_MS, 0, 0, 0)])
        other = event("count", "t2", START_MS + DAY_MS, g="x", u="a", operation_type="c")
        self.deliver([Arrival(other, ORG, START_MS + DAY_MS, 0, 1, 0)])
        self.close_until(NOW_MS - 1)
        settle(self.partition, NOW_MS - 60_000)

    def tell(self, at_ms: int, command: Command) -> None:
        """Apply a definition, and look at nobody yet."""
        definitions = self.definitions
        applied = apply(definitions, command.encode(), at_ms, definitions.offset)
        assert isinstance(applied, Applied)
        if applied.impact is not None:
            self.partition.redefinition.tell(applied.impact, at_ms)

    def group_by(self, at_ms: int, key: str) -> None:
        """Tell that the charge has this pricing group key."""
        kept = {name: value for name, value in self._charge.items() if name != "new_id"}
        properties = {"amount": "1", "pricing_group_keys": [key]}
        kept |= {"id": self.charge_id, "properties": properties}
        other = {name: value for name, value in self.count.items() if name != "new_id"}
        other |= {"id": self.count["new_id"]}
        self.tell(at_ms, commands.update_plan(ORG, "plan", {"charges": [kept, other]}))

    def group_the_other_by(self, at_ms: int, key: str) -> None:
        """Tell that the charge of a metric without an alert has this pricing group key."""
        properties = {"amount": "1", "pricing_group_keys": [key]}
        body = {"properties": properties}
        self.tell(at_ms, commands.update_charge(ORG, "plan", "count", body))

    def look(self) -> None:
        """Look at what does not wait, and refold what it changes."""
        self.refold(refolds_of(self.partition.redefinition.renewing(waits=True)))

    def keys(self, at_ms: int = NOW_MS) -> tuple[str, ...]:
        """Group keys under which the cells of the charge stand in a period."""
        return self._keys_of("sum", self.charge_id, at_ms)

    def others_keys(self) -> tuple[str, ...]:
        """Group keys of the charge of a metric without an alert."""
        return self._keys_of("count", self.count["new_id"], NOW_MS)

    def _keys_of(self, code: str, charge_id: str, at_ms: int) -> tuple[str, ...]:
        route = self.partition.packing.route_of((ORG, SUBSCRIPTION, code))
        (span,) = [
            span
            for span in route.spans
            if span.key.charge_id == charge_id and span.key.start_ms <= at_ms < span.end_ms
        ]
        return tuple(span.fold.charge.group_keys(None))


def test_one_definition_is_looked_at_without_the_one_after_the_next_grid_cut() -> None:
    watched = Watched()
    settle(watched.partition, NOW_MS)
    watched.group_by(NOW_MS + 1, "u")
    watched.group_by(NOW_MS + 60_001, "operation_type")
    watched.look()
    assert watched.keys() == ("u",)
    watched.refold_all()
    assert watched.keys() == ("u",)
    settle(watched.partition, NOW_MS + 60_000)
    watched.look()
    assert watched.keys() == ("operation_type",)


def test_a_cut_before_a_history_record_leaves_what_came_since_the_grid_cut() -> None:
    """Such a cut is on no grid; after a restart the one that decides it is taken all the same."""
    watched = Watched()
    settle(watched.partition, NOW_MS)
    other = commands.create_alert(ORG, SUBSCRIPTION, {**ALERT, "code": "b"})
    watched.append(NOW_MS + 1, other)
    settle(watched.partition, NOW_MS + 2)
    watched.restart()
    grid = watched.partition.cuts.grid
    assert {name: [*grid.of(name)] for name in grid.by_name} == {
        (ORG, SUBSCRIPTION): [NOW_MS + 60_000]
    }


@pytest.mark.parametrize("looked_at", [False, True])
def test_a_refold_shows_a_definition_though_one_of_its_millisecond_waits(
    *, looked_at: bool
) -> None:
    """Look-ups cannot tell the two apart: it is looked at again when the other one is."""
    watched = Watched()
    settle(watched.partition, NOW_MS)
    used = event("count", "t3", NOW_MS, g="x", u="a", operation_type="c")
    watched.deliver([Arrival(used, ORG, NOW_MS + 1, 0, 2, 0)])
    # A history record comes into force between the two looks.
    until_ms = START_MS + WEEK_MS
    record = commands.apply_history(
        ORG, charge_ids=[watched.charge_id], from_ms=START_MS, to_ms=until_ms
    )
    watched.tell(NOW_MS + 2, record)
    at_ms = NOW_MS + 60_001
    watched.group_the_other_by(at_ms, "u")
    meter_keys = refolds_of(watched.partition.redefinition.renewing(waits=True))
    assert meter_keys == {(ORG, SUBSCRIPTION, "count")}
    waiting = {"properties": {"amount": "1", "pricing_group_keys": ["u"]}}
    watched.tell(at_ms, commands.update_charge(ORG, "plan", "sum", waiting))
    refold = Refold(watched.partition, meter_keys)
    refold.feed(watched.arrived())
    if looked_at:
        settle(watched.partition, NOW_MS + 60_000)
        watched.look()
        assert not refold.swap(), "what it was made without is looked at now"
        refold.feed(watched.arrived())
    assert refold.swap()
    if not looked_at:
        watched.refold(refolds_of(entering_history(watched.partition)))
    settle(watched.partition, NOW_MS + 60_000)
    watched.look()
    assert watched.others_keys() == ("u",)
    assert watched.keys() == ("u",)


def test_who_is_packed_in_the_millisecond_of_a_definition_alone_shows_it_later() -> None:
    """The log had come so far by a tick: nothing that was appended then is in the cells."""
    watched = Watched()
    settle(watched.partition, NOW_MS)
    used = event("sum", "t3", NOW_MS, v="5", g="x", u="a", operation_type="c")
    watched.deliver([Arrival(used, ORG, NOW_MS + 1, 0, 2, 0)])
    at_ms = NOW_MS + 60_001
    watched.definitions.append_time_ms = at_ms
    watched.flush()
    watched.partition.packing.pack((ORG, SUBSCRIPTION))
    watched.group_by(at_ms, "u")
    watched.look()
    # A grid cut before it is to be taken.
    assert watched.keys() == ("g",)
    settle(watched.partition, NOW_MS + 60_000)
    watched.look()
    assert watched.keys() == ("u",)


def test_a_definition_alone_in_the_millisecond_of_a_packing_refolds_what_it_changes() -> None:
    """No look-up has to tell two definitions of it apart: all else keeps its cells."""
    watched = Watched()
    settle(watched.partition, NOW_MS)
    used = [event(code, code, NOW_MS, v="5", g="x", u="a") for code in ("sum", "count")]
    watched.deliver([Arrival(one, ORG, NOW_MS + 1, 0, 2 + n, 0) for n, one in enumerate(used)])
    watched.definitions.append_time_ms = at_ms = NOW_MS + 2
    watched.flush()
    watched.partition.packing.pack((ORG, SUBSCRIPTION))
    watched.group_the_other_by(at_ms, "u")
    told = watched.partition.redefinition
    assert refolds_of(told.renewing(waits=True)) == {(ORG, SUBSCRIPTION, "count")}


@pytest.mark.parametrize("restarts", [False, True], ids=["packed", "restored"])
def test_who_is_packed_in_the_millisecond_of_one_that_waits_shows_it_later(restarts: bool) -> None:
    """Another definition of that millisecond was looked at: look-ups cannot tell the two apart."""
    watched = Watched()
    settle(watched.partition, NOW_MS)
    at_ms = NOW_MS + 60_001
    watched.tell(at_ms, commands.create_subscription(ORG, subscription_body(external_id="another")))
    watched.look()
    if restarts:
        watched.partition.checkpoint.definitions_ms = at_ms
        watched.restart()
    else:
        watched.flush()
        watched.partition.packing.pack((ORG, SUBSCRIPTION))
    watched.group_by(at_ms, "u")
    watched.look()
    # A grid cut before it is to be taken.
    assert watched.keys() == ("g",)
    settle(watched.partition, NOW_MS + 60_000)
    watched.look()
    assert watched.keys() == ("u",)


def test_who_began_in_the_millisecond_of_one_that_waits_for_others_loses_nothing() -> None:
    watched, another = Watched(), "another"
    settle(watched.partition, NOW_MS)
    at_ms = NOW_MS + 60_001
    watched.tell(at_ms, commands.create_subscription(ORG, subscription_body(external_id=another)))
    watched.look()
    told = {"v": "5", "g": "x", "u": "a", "operation_type": "c"}
    first = event("sum", "t3", at_ms, another, **told)
    watched.deliver([Arrival(first, ORG, at_ms + 1, 0, 2, 0)])
    watched.partition.checkpoint.definitions_ms = at_ms
    watched.restart()
    alert = {**ALERT, "code": "later", "billable_metric_code": "count"}
    watched.tell(at_ms, commands.create_alert(ORG, SUBSCRIPTION, alert))
    second = event("sum", "t4", at_ms, another, **told)
    watched.deliver([Arrival(second, ORG, at_ms + 2, 0, 3, 0)])
    # What is waited for does not concern it, so nothing would fold it anew after a kill.
    route = watched.partition.packing.route_of((ORG, another, "sum"))
    layers = [layer for span in route.spans for layer in span.layers.values()]
    assert [cell.state.events for layer in layers for cell in layer.cells.values()] == [2]


def test_an_alert_on_who_is_packed_sees_what_waits_since_before() -> None:
    watched = Watched()
    late = event("count", "t3", START_MS + DAY_MS, g="x", u="a", operation_type="c")
    watched.deliver([Arrival(late, ORG, NOW_MS + 1, 0, 2, 0)])
    cuts, name = watched.partition.cuts, (ORG, SUBSCRIPTION)
    (revision_ms,) = cuts.late.of(name)
    watched.flush()
    watched.partition.packing.pack(name)
    body = {**ALERT, "code": "b", "billable_metric_code": "count"}
    settle(watched.partition, NOW_MS + 120_000)
    watched.tell(NOW_MS + 120_001, commands.create_alert(ORG, SUBSCRIPTION, body))
    assert name not in cuts.grid.at(revision_ms)
    watched.look()
    assert name in cuts.grid.at(revision_ms)


def test_only_what_shapes_a_watched_metric_waits_and_what_comes_behind_it() -> None:
    watched = Watched()
    watched.group_the_other_by(NOW_MS + 1, "u")
    watched.look()
    assert (watched.keys(), watched.others_keys()) == (("g",), ("u",))
    assert not watched.partition.standing.looks
    watched.group_by(NOW_MS + 2, "u")
    watched.group_the_other_by(NOW_MS + 3, "operation_type")
    watched.look()
    watched.refold_all()
    assert (watched.keys(), watched.others_keys()) == (("g",), ("u",))
    assert watched.partition.standing.next_awaited_ms() == NOW_MS
    settle(watched.partition, NOW_MS)
    watched.look()
    assert (watched.keys(), watched.others_keys()) == (("u",), ("operation_type",))


def test_a_subscription_that_nobody_watches_waits_for_no_grid_cut() -> None:
    watched = Watched()
    body = subscription_body(external_id="another")
    watched.tell(NOW_MS + 1, commands.create_subscription(ORG, body))
    assert watched.partition.standing.looks_until_ms == NEVER_MS
    watched.tell(NOW_MS + 2, commands.terminate_subscription(ORG, SUBSCRIPTION))
    assert watched.partition.standing.looks_until_ms == NOW_MS + 1


def test_what_has_to_wait_ends_a_look_at_others_of_its_millisecond() -> None:
    watched = Watched()
    watched.group_the_other_by(NOW_MS + 1, "u")
    looking = watched.partition.redefinition.renewing(waits=True)
    found = [next(looking)]
    watched.group_by(NOW_MS + 1, "u")
    watched.refold(refolds_of([*found, *looking]))
    watched.refold_all()
    assert watched.keys() == ("g",)
    watched.look()
    assert watched.keys() == ("g",)
    settle(watched.partition, NOW_MS)
    watched.look()
    assert (watched.keys(), watched.others_keys()) == (("u",), ())


def test_what_comes_before_a_look_had_its_turn_waits_too() -> None:
    watched = Watched()
    watched.group_the_other_by(NOW_MS + 1, "u")
    looking = watched.partition.redefinition.renewing(waits=True)
    watched.group_by(NOW_MS + 2, "u")
    watched.refold(refolds_of(looking))
    assert (watched.keys(), watched.others_keys()) == (("g",), ("u",))
    settle(watched.partition, NOW_MS)
    watched.look()
    assert watched.keys() == ("u",)


def test_the_last_cut_of_a_grid_that_settings_end_is_waited_for() -> None:
    watched = Watched()
    settle(watched.partition, NOW_MS)
    grid_of_90_s = msgspec.structs.replace(SETTINGS, close_grid_s=90)
    watched.tell(NOW_MS + 80_000, commands.set_settings(grid_of_90_s))
    watched.group_by(NOW_MS + 125_000, "u")
    standing, found = watched.partition.standing, list[tuple[int, bool]]()
    for _ in range(3):
        watched.look()
        cut_ms = standing.next_awaited_ms()
        found.append((cut_ms - NOW_MS, watched.keys() == ("u",)))
        if cut_ms < NEVER_MS:
            settle(watched.partition, cut_ms)
    # 60 and 120 s by the old grid, the second one for what came until the settings; 90 s is no cut.
    assert found == [(60_000, False), (120_000, False), (NEVER_MS - NOW_MS, True)]


def test_a_definition_of_a_plan_shows_although_one_that_waits_leads_to_another_plan() -> None:
    watched = Watched()
    settle(watched.partition, NOW_MS)
    watched.group_by(NOW_MS + 1, "u")
    body = {"plan_overrides": {"amount_cents": 7}}
    watched.tell(NOW_MS + 60_001, commands.update_subscription(ORG, SUBSCRIPTION, body))
    watched.look()
    assert watched.keys() == ("u",)


def test_usage_has_changed_by_a_definition_also_for_who_left_its_plan_later() -> None:
    watched = Watched()
    settle(watched.partition, NOW_MS)
    told = msgspec.structs.replace(SETTINGS, usage_changed=True)
    watched.append(NOW_MS + 1, commands.set_settings(told))
    watched.group_by(NOW_MS + 2, "u")
    watched.look()
    body = {"plan_overrides": {"amount_cents": 7}}
    watched.tell(NOW_MS + 60_001, commands.update_subscription(ORG, SUBSCRIPTION, body))
    records = changed_at(watched.partition, NOW_MS + 60_000)
    assert [msgspec.json.decode(each.value)["codes"] for each in records if each] == [["sum"]]


def test_a_correction_is_decided_also_if_it_is_read_before_the_charge_paid_in_advance() -> None:
    base = definitions_of(["passes"])
    live = Live(base)
    live.define(len(base) - 1)
    at_ms = base[-1].append_time_ms
    live.deliver([arrived("passes", 0, START_MS + DAY_MS, at_ms, u="a", operation_type="add")])
    body = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c", b"")
    assert live.partition.corrected.correct(CorrectionArrival(body, ORG, at_ms + 1, 0, 1, 0))
    assert live.partition.instants.corrected == {}
    live.define()
    assert list(live.partition.instants.corrected) == [(ORG, SUBSCRIPTION)]


def test_a_history_record_comes_into_force_without_what_waits_for_a_later_cut() -> None:
    watched = Watched()
    watched.group_by(NOW_MS - 1, "u")
    watched.look()
    in_the_first_week_ms = START_MS + DAY_MS
    assert (watched.keys(in_the_first_week_ms), watched.keys()) == (("g",), ("u",))
    record = commands.apply_history(
        ORG, charge_ids=[watched.charge_id], from_ms=0, to_ms=START_MS + WEEK_MS
    )
    watched.tell(NOW_MS, record)
    watched.group_by(NOW_MS + 1, "operation_type")
    standing = watched.partition.standing
    assert standing.next_awaited_ms() == standing.next_history_ms() == NOW_MS
    assert not standing.holds_back(NOW_MS)
    watched.refold(refolds_of(entering_history(watched.partition)))
    assert (watched.keys(in_the_first_week_ms), watched.keys()) == (("u",), ("u",))
    settle(watched.partition, NOW_MS)
    assert standing.holds_back(NOW_MS + 60_000)
    watched.look()
    assert (watched.keys(in_the_first_week_ms), watched.keys()) == (("u",), ("operation_type",))
