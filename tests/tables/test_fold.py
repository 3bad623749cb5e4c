"""What a fold notes besides its cells."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.wire.arrivals import runs_of
from tables.cells.cell import Layer, Span
from tables.fold import Folded
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    lines,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live


def test_each_charge_bills_an_event_as_it_came() -> None:
    """A correction is of a cut of its own, where another may decide the event."""
    before, came = arrived("sum", 0, START_MS, v="1"), arrived("sum", 1, START_MS, v="2")
    amended = replace(came, event=replace(came.event, timestamp_ms=START_MS + 1))
    folded = Folded()
    folded.billed_at_once += [before, amended, amended]
    folded.bills_as_it_came(came)
    assert folded.billed_at_once == [before, came, came]
    folded.bills_as_it_came(replace(came, raw_offset=2))
    assert folded.billed_at_once == [before, came, came]


def begun_anew(code: str, times: int) -> list[CommandAt]:
    """Return definitions of a subscription that ends and begins anew each day, so often."""
    told = [(line.append_time_ms, line.command) for line in definitions_of([code])]
    body = subscription_body(subscription_at=None)
    for day in range(1, times + 1):
        at_ms = START_MS + day * DAY_MS
        told.append((at_ms, commands.terminate_subscription(ORG, SUBSCRIPTION)))
        told.append((at_ms, commands.create_subscription(ORG, body)))
    return lines(told)


def test_members_are_looked_for_in_no_subscription_that_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What recurs has a set of members in each of them, however often it began anew."""
    looked, layer_at = list[Span](), Span.layer_at

    def looking(span: Span, timestamp_ms: int) -> Layer | None:
        looked.append(span)
        return layer_at(span, timestamp_ms)

    live = Live(begun_anew("seats", 20))
    live.define_all()
    at_ms = START_MS + 30 * DAY_MS
    live.deliver([arrived("seats", 0, at_ms, v="a", u="a")])
    monkeypatch.setattr(Span, "layer_at", looking)
    unknown = live.partition.missing_members(runs_of([arrived("seats", 1, at_ms, v="b", u="b")]))
    assert len(looked) == 1
    assert unknown == []
