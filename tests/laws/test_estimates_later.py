"""An estimate waits for what definitions have yet to bring where they say."""

from __future__ import annotations

import pytest

from app.bounds.turns import drained
from app.meter.errors import Unavailable
from tables.reading.in_advance import estimated
from tests.laws.test_looking_later import Later
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived

NAME = (ORG, SUBSCRIPTION)


def fees(live: Later, code: str) -> int:
    """How many fees an event would bill at once."""
    new = arrived(code, 9, START_MS + HOUR_MS, v="1", u="a")
    return len(drained(estimated(live.partition, NAME, new)))


def waits(live: Later) -> bool:
    """Whether the charge paid in advance is not known yet, and the other one is."""
    with pytest.raises(Unavailable):
        fees(live, "spent")
    return fees(live, "sum") == 0


def test_an_estimate_waits_for_the_first_refold() -> None:
    """Their events came before definitions said that they are billed at once."""
    live = Later(definitions_of(["spent", "sum"]))
    live.deliver([arrived("spent", 0, START_MS, v="1"), arrived("sum", 1, START_MS, v="1")])
    live.define_all()
    meter_keys = {(*NAME, "spent"), (*NAME, "sum")}
    assert waits(live)
    found = [one for one in live.partition.redefinition.renewing() if one is not None]
    assert {meter_key for one in found for meter_key in one.refold} == meter_keys
    live.partition.stale.queue(meter_keys)
    assert waits(live)
    live.refold(meter_keys)
    assert (fees(live, "spent"), fees(live, "sum")) == (1, 0)


def test_an_estimate_does_not_wait_for_what_leaves_its_charge_as_it_is() -> None:
    live = Later(definitions_of(["spent"]))
    live.define_all()
    live.look_to_the_end()
    live.deliver([arrived("spent", 0, START_MS, v="1")])
    live.partition.stale.queue([(*NAME, "spent")])
    assert live.partition.refolding(*NAME)
    assert fees(live, "spent") == 1
