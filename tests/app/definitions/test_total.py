"""Applying is total: a record that cannot be decided is refused, and changes nothing."""

from __future__ import annotations

from copy import deepcopy

import pytest

from app.definitions import commands
from app.definitions.log import DECIDE
from app.definitions.outcome import Applied, Rejected
from tests.world.definitions_log import ORG, Log, metric_body, plan_body


def failing(error: BaseException) -> object:
    def decide(*_: object) -> object:
        raise error

    return decide


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), OverflowError(), AssertionError("x")]
)
def test_what_cannot_be_decided_is_rejected(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    log = Log()
    log.metric("a")
    before = deepcopy(vars(log.definitions))
    monkeypatch.setitem(DECIDE, "create_billable_metric", failing(error))
    refused = log.refuse(commands.create_billable_metric(ORG, metric_body("b")))
    assert refused == Rejected(422, "validation_errors", {"base": ["cannot_be_applied"]})
    moved = ("offset", "records")
    for name, value in vars(log.definitions).items():
        assert name in moved or value == before[name], name


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_want_of_memory_or_of_a_disk_is_no_fault_of_the_record(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    log = Log()
    monkeypatch.setitem(DECIDE, "create_plan", failing(error))
    with pytest.raises(type(error)):
        log.append(commands.create_plan(ORG, {}))


@pytest.mark.parametrize(("levels", "fits"), [(290, True), (600, False), (100_000, False)])
def test_a_record_is_read_alike_from_any_depth_of_the_stack(levels: int, fits: bool) -> None:
    """A parser gives up at a depth that hangs on who calls it: two workers would disagree."""
    plan = commands.create_plan(ORG, plan_body(metadata={"a": "deep"}))
    value = plan.encode().replace(b'"deep"', b"[" * levels + b"]" * levels)

    def deep(frames: int) -> object:
        return deep(frames - 1) if frames else type(Log().append_bytes(value))

    assert deep(0) == deep(500) == (Applied if fits else Rejected)


def test_the_first_command_from_an_offset() -> None:
    log = Log()
    for record in (None, b"{}", None, commands.create_plan(ORG, plan_body()).encode(), None):
        log.now_ms += 10
        log.append_bytes(record)
    start_ms = log.now_ms - 50
    found = [log.definitions.first_time_from(offset) - start_ms for offset in range(6)]
    assert found == [40, 40, 40, 40, 50, 50]
