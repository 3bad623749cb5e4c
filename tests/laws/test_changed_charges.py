"""The law of changed charges: what is due later is as if the charge had always been so.

Rows by presentation keys and lists of single events are part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from tests.world.bodies import Json
from tests.world.definitions import ORG, presented_by
from tests.world.profiles import examples
from tests.world.story import Story

END = "2024-05-10"
FIGURES = ("units", "events_count", "digest", "presentation_breakdowns", "per_event")
RECURRING = ("sum_agg", "unique_count_agg", "weighted_sum_agg")
TIERS = [{"key": "tier", "values": ["x", "y"]}]
Sent = tuple[str, str, dict[str, str]]
"""(date, append time, properties)"""

_texts = st.sampled_from(["a", "b"])
_groups = st.sampled_from([[], ["g"], ["g", "h"]])
_presented = st.sampled_from([[], ["g"], ["h"], ["p"], ["g", "h"], ["h", "p"]])
"""In one order, so that keys that group may become keys that only present, and back."""


@st.composite
def terms(draw: st.DrawFn, presented: Sequence[str]) -> Json:
    """Properties and filters of a charge whose price asks for single events or not."""
    free = draw(st.sampled_from([{}, {"free_units_per_events": 2}]))
    shown = {"rate": "1", **free, **presented_by(*presented)}
    filters = [
        {
            "values": {"tier": [tier]},
            "properties": {"rate": "1", "pricing_group_keys": draw(_groups)},
        }
        for tier in draw(st.sampled_from([[], [], ["x"], ["x", "y"]]))
    ]
    return {"properties": {**shown, "pricing_group_keys": draw(_groups)}, "filters": filters}


@st.composite
def events(draw: st.DrawFn) -> list[Sent]:
    """Events of four months, some of them late, in the order in which they are appended."""
    found = []
    for _ in range(draw(st.integers(1, 8))):
        month, day = draw(st.integers(1, 4)), draw(st.integers(1, 28))
        late = draw(st.sampled_from([0, 0, 1]))
        properties = {"v": draw(st.sampled_from(["1", "2", "5"]))}
        for key in ("g", "h", "p", "tier"):
            if draw(st.booleans()):
                properties[key] = draw(_texts if key != "tier" else st.sampled_from(["x", "y"]))
        appended = f"2024-{month + late:02}-{day:02}T10:00:00"
        found.append((f"2024-{month:02}-{day:02}T10:00:00", appended, properties))
    return sorted(found, key=lambda sent: sent[1])


def story(metric: Json, charge: Json, sent: Sequence[Sent]) -> Story:
    told = Story(close_grid_s=3600).metric("m", filters=TIERS, **metric)
    told.plan({"charge_model": "percentage", **charge}).subscribe()
    for at, appended, properties in sent:
        told.send(at, appended=appended, **properties)
    return told


def shown(told: Story, since: str) -> list[tuple[Any, ...]]:
    """What is published of the months that are due from a day on, in any order."""
    found = []
    for record in told.records(END):
        of_cell = (record["closed_at"], record["period"]["from"], record["filters"])
        if record["period"]["to"] >= since and record["events_count"]:
            figures = tuple(record[name] for name in FIGURES)
            found.append((*of_cell, record["grouped_by"], *figures))
    return sorted(found, key=repr)


@examples(200)
@given(st.data())
def test_what_is_due_later_is_as_if_it_had_always_been_so(data: st.DataObject) -> None:
    aggregation = data.draw(st.sampled_from(["count_agg", "latest_agg", *RECURRING]))
    recurring = aggregation in RECURRING and data.draw(st.booleans())
    metric = {"aggregation_type": aggregation, "recurring": recurring}
    if aggregation == "weighted_sum_agg":
        metric["weighted_interval"] = "seconds"
    presented = data.draw(_presented)
    others = data.draw(_presented) if data.draw(st.booleans()) else presented
    first, second = data.draw(terms(presented)), data.draw(terms(others))
    if data.draw(st.booleans()):
        second = {**second, "filters": first["filters"]}
    sent = data.draw(events())
    changed_at = f"2024-{data.draw(st.integers(1, 3)):02}-15"
    changed = story(metric, first, sent)
    changed.define(changed_at, commands.update_charge(ORG, "plan", "m", second))
    always = story(metric, second, sent)
    assert shown(changed, changed_at) == shown(always, changed_at)
