"""Definitions that are looked at later, step by step, come to the same as at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.outcome import Applied, Impact
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.partition import redirection
from tables.partition.redirection import Renewed
from tests.laws.test_partition import ALL, few, in_order, same
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    metric_body,
)
from tests.world.events import arrivals, arrived, event
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


class Later(Live):
    """Applies definitions at once, and looks at whom they concern when it is asked to."""

    def __init__(self, definitions: Sequence[CommandAt] = ()):
        super().__init__(definitions)
        self._looking: Generator[Renewed | None, None, None] | None = None

    def define(self, count: int = 1) -> None:
        for _ in range(min(count, len(self._to_define))):
            line = self._to_define.pop(0)
            value = line.command.encode()
            applied = apply(self.definitions, value, line.append_time_ms, line.offset)
            if isinstance(applied, Applied) and applied.impact is not None:
                self.partition.redefinition.tell(applied.impact)

    def look(self, steps: int) -> None:
        """Go on looking for some steps; what is to be refolded is refolded at once."""
        for _ in range(steps):
            looking = self._looking = self._looking or self.partition.redefinition.renewing()
            renewed = next(looking, _OVER)
            if renewed is _OVER:
                self._looking = None
                return
            if renewed is not None:
                self.partition.stale.queue(renewed.refold)
                self.refold(renewed.refold)
                self.partition.stale.finish(())

    def stop_looking(self) -> None:
        """As when a rebalance ends it."""
        if self._looking is not None:
            self._looking.close()
            self._looking = None

    def look_to_the_end(self) -> None:
        while self.partition.standing.behind_since_ms is not None or self._looking is not None:
            self.look(1)


_OVER = Renewed(NAME, set(), False)


@few
@given(st.data())
def test_events_and_packing_among_definitions_not_looked_at(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    with pytest.MonkeyPatch.context() as patch:
        # A step for each code, or one for all of them.
        patch.setattr(redirection, "STEP_ITEMS", data.draw(st.sampled_from((1, 1_000))))
        later = _looked_at_later(data, definitions, events)
    same(in_order(definitions, events), later)


def _looked_at_later(
    data: st.DataObject, definitions: Sequence[CommandAt], events: Sequence[Arrival]
) -> Later:
    later = Later(definitions)
    for arrival in events:
        later.define(data.draw(st.integers(0, 3)))
        later.deliver([arrival])
        later.look(data.draw(st.integers(0, 4)))
        if data.draw(st.booleans()):
            later.flush()
        later.partition.packing.pack(NAME)
        if data.draw(st.integers(0, 4)) == 0:
            later.stop_looking()
        if data.draw(st.booleans()):
            later.partition.packing.unpack(NAME)
    later.define_all()
    later.look_to_the_end()
    return later


def used(codes: Sequence[str], *, cools: bool, definitions: Sequence[CommandAt] = ()) -> Later:
    live = Later(definitions or definitions_of(codes))
    live.define_all()
    live.look_to_the_end()
    for offset, code in enumerate(codes):
        live.deliver([arrived(code, offset, START_MS, v="1", g="x", u="a")])
    live.flush()
    if cools:
        live.partition.packing.pack(NAME)
    return live


def test_a_metric_that_nobody_uses_concerns_nobody() -> None:
    live = used(["sum", "count"], cools=True)
    live.append(START_MS + DAY_MS, commands.create_billable_metric(ORG, metric_body("max")))
    steps = list(live.partition.redefinition.renewing())
    assert [renewed for renewed in steps if renewed is not None] == []
    assert live.partition.standing.behind_since_ms is None


def test_whoever_has_events_of_the_code_is_looked_at_and_no_cut_moves() -> None:
    live = used(["sum", "count"], cools=True)
    live.partition.redefinition.tell(
        Impact(ORG, codes=frozenset({"sum", "other"})), START_MS + DAY_MS
    )
    (renewed,) = [one for one in live.partition.redefinition.renewing() if one is not None]
    assert renewed == Renewed(NAME, set(), False)


def test_figures_are_stale_until_it_is_looked_at() -> None:
    live = used(["sum"], cools=False)
    at_ms = START_MS + DAY_MS
    live.append(
        at_ms, commands.upsert_customer(ORG, {"external_id": "customer", "timezone": "UTC"})
    )
    assert live.partition.standing.behind_since_ms == at_ms
    assert live.partition.refolding(*NAME)
    assert not live.partition.refolding("another", SUBSCRIPTION)
    live.look_to_the_end()
    assert not live.partition.refolding(*NAME)


def test_packed_cells_come_back_as_they_stand() -> None:
    """An event asks for them while nobody has looked yet at the charge that is not grouped now."""
    definitions, folded = definitions_of(["sum"]), []
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    (made,) = plan.payload["plan"]["charges"]
    charge = {key: value for key, value in made.items() if key != "new_id"}
    plain = {**charge, "id": made["new_id"], "properties": {"amount": "1"}}
    for cools in (False, True):
        live = used(["sum"], definitions=definitions, cools=cools)
        at_ms = START_MS + DAY_MS
        live.append(at_ms, commands.update_plan(ORG, "plan", {"charges": [plain]}))
        live.deliver([arrived("sum", 9, at_ms, transaction_id="later", v="2", g="y")])
        live.look_to_the_end()
        folded.append(live.cells())
    assert folded[0] == folded[1]


def test_what_comes_with_a_corrected_event_counts_as_well() -> None:
    """Both are the first of their code, and a definition waits for a grid cut."""
    live = Later(definitions_of(["sum", "max"]))
    live.define_all()
    live.look_to_the_end()
    told = msgspec.structs.replace(live.partition.settings, daily_records=True)
    live.append(START_MS, commands.set_settings(told))
    live.look_to_the_end()
    zone = {"external_id": "customer", "timezone": "UTC"}
    live.append(START_MS + 1, commands.upsert_customer(ORG, zone))
    to = event("max", "t0", START_MS, v="7", g="x")
    amended = Correction(ORG, SUBSCRIPTION, "t0", "amend", to, "c0", b"")
    live.partition.corrected.correct(CorrectionArrival(amended, ORG, START_MS + 2, 0, 0, 0))
    sent = [event("sum", f"t{number}", START_MS, v="2", g="x") for number in range(2)]
    live.deliver([Arrival(one, ORG, START_MS + 3, 0, at, 0) for at, one in enumerate(sent, 1)])
    assert len({span.charge_id for span, _ in live.cells() if ":" not in span.charge_id}) == 2
