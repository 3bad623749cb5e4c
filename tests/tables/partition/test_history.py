"""History records in force, and the cuts that are to show them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.bounds import turns
from app.definitions import commands
from app.definitions.log import apply
from app.definitions.outcome import Applied
from tables.closing.close import entering_history
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    definitions_of,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


def test_a_record_revises_until_its_cut_is_taken() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS)])
    (metric,) = live.definitions.metrics(ORG)
    revises = live.partition.history.revises
    ids, to_ms = [metric.id], START_MS + WEEK_MS
    for week in (1, 2, 3):
        # As long after a full hour as may be, and as short before one.
        at_ms = START_MS + week * WEEK_MS + (HOUR_MS if week == 2 else HOUR_MS + 1)
        live.close_until(at_ms - 1)
        record = commands.apply_history(ORG, metric_ids=ids, from_ms=START_MS, to_ms=to_ms)
        live.append(at_ms, record)
        assert not revises(NAME)
        live.close_until(at_ms)
        # A cut that is taken at the time of the record shows it already.
        assert revises(NAME) == (week != 2)
        live.close_until(at_ms + HOUR_MS)
        assert not revises(NAME)


def many() -> Live:
    """Ten subscriptions, each with an event."""
    made = definitions_of(["count"])
    names = [f"s{number}" for number in range(10)]
    live = Live(made)
    live.define_all()
    for name in names:
        body = {**subscription_body(), "external_id": name}
        live.append(START_MS, commands.create_subscription(ORG, body))
    events = [arrived("count", n, START_MS + 1, external_id=name) for n, name in enumerate(names)]
    live.deliver(events)
    return live


@pytest.mark.parametrize("settings", [True, False], ids=["settings", "history"])
def test_the_names_that_were_looked_at_are_freed_by_steps(
    settings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    for at_once in (1_000, 1):
        monkeypatch.setattr(turns, "SORTED_AT_ONCE", at_once)
        live, at_ms = many(), START_MS + HOUR_MS
        (metric,) = live.definitions.metrics(ORG)
        ids = [metric.id]
        record = commands.apply_history(ORG, metric_ids=ids, from_ms=START_MS, to_ms=at_ms)
        made = commands.set_settings(replace(SETTINGS, grace_s=90)) if settings else record
        applied = apply(live.definitions, made.encode(), at_ms, live.definitions.offset)
        assert isinstance(applied, Applied)
        if applied.impact is not None:
            live.partition.redefinition.tell(applied.impact)
        steps = (
            live.partition.redefinition.renewing() if settings else entering_history(live.partition)
        )
        taken.append(len(list(steps)))
    assert taken[1] - taken[0] >= 9


def test_a_record_looks_at_nobody_of_other_organizations() -> None:
    looked_at: list[int] = []
    for others in (0, 50):
        live, at_ms = Live(definitions_of(["count"])), START_MS + HOUR_MS
        live.define_all()
        live.deliver([arrived("count", 0, START_MS)])
        for number in range(others):
            organization_id, sent = f"other-{number}", arrived("count", number + 1, START_MS)
            event = replace(sent.event, organization_id=organization_id)
            live.append(START_MS, commands.upsert_customer(organization_id, {"external_id": "c"}))
            live.deliver([replace(sent, event=event, organization_id=organization_id)])
        assert len(live.partition.event_ranges.codes) == others + 1
        (metric,) = live.definitions.metrics(ORG)
        for _ in range(2):
            record = commands.apply_history(
                ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=START_MS + WEEK_MS
            )
            apply(live.definitions, record.encode(), at_ms, live.definitions.offset)
        looked_at.append(len(list(entering_history(live.partition))))
    assert looked_at[0] == looked_at[1]


def test_who_is_at_hand_waits_for_the_cut_of_a_record_without_an_event() -> None:
    live, at_ms = Live(definitions_of(["count"])), START_MS + 5 * WEEK_MS + 1
    live.define_all()
    live.partition.timelines.of(NAME)
    assert [*live.partition.timelines.names_of(ORG)] == [NAME]
    (metric,) = live.definitions.metrics(ORG)
    record = commands.apply_history(
        ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=START_MS + WEEK_MS
    )
    apply(live.definitions, record.encode(), at_ms, live.definitions.offset)
    assert not [each for each in entering_history(live.partition) if each is not None]
    assert live.partition.cuts.late.of(NAME)
    live.partition.timelines.forget(NAME)
    assert not [*live.partition.timelines.names_of(ORG)]
