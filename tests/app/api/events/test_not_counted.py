"""What was not counted is told by steps, however many kinds of it there are."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.events import not_counted
from app.bounds.turns import STEP_ITEMS, drained
from app.meter.evidence import Uncounted
from tests.world.clock import START_MS


def test_no_step_makes_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    to_json = not_counted._json

    def noted(one: Uncounted) -> Any:
        made.append(one.code)
        return to_json(one)

    monkeypatch.setattr(not_counted, "_json", noted)
    kinds = [Uncounted("unknown_code", f"{n:03}", n, START_MS, START_MS) for n in range(1_000)]
    steps = not_counted._merged(kinds, [])
    next(steps)
    assert len(made) <= STEP_ITEMS
    assert [one["code"] for one in drained(steps)] == [one.code for one in reversed(kinds)]
