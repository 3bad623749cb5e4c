"""What came late for a week that is carried on waits for its cut: a verification looks at it."""

from __future__ import annotations

import pytest

from tests.tables.closing.test_carrying import RECURRING
from tests.tables.closing.test_forgetting import NAME, live, pass_until
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.events import arrived
from tests.world.verified import differences


@pytest.mark.parametrize("code", RECURRING)
def test_a_verification_finds_what_is_lost_of_a_week_that_is_carried_on(code: str) -> None:
    one, at_ms = live(3, code), START_MS + 3 * WEEK_MS + DAY_MS
    pass_until(one, at_ms)
    assert one.forget(NAME)
    one.deliver([arrived(code, 7, START_MS + 2 * HOUR_MS, at_ms + HOUR_MS, v="3", u="b")])
    assert differences(one) == []
    spans = one.partition.packing.route_of((*NAME, code)).spans
    layers = [layer for span in spans for layer in span.layers.values()]
    (waiting,) = [cell for layer in layers for cell in layer.cells.values() if cell.late]
    waiting.late = None
    assert len(differences(one)) == 1
