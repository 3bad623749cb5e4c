"""What arrives of a record: names that are too long are refused once there are limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import pytest

from app.bounds.limits import ID_BYTES
from app.definitions.judging import Judging
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import (
    Arrival,
    CorrectionArrival,
    arrivals_of,
    arrive_elements,
    hang_on_limits,
)
from app.wire.decode import Headers, elements_of
from app.wire.refusals import Refusal, RefusalCode

EVENT = {
    "organization_id": "o",
    "external_subscription_id": "s",
    "transaction_id": "t",
    "code": "c",
}
CANCEL = {**EVENT, "operation": "cancel", "correction_id": "k"}
NAMES = tuple(EVENT)
LONGEST = "\u20ac" * (ID_BYTES // 3)
LONG = LONGEST + "xx"


def arrived(body: Any, limited_after_ms: int, headers: Headers = (), default: str = "o") -> Any:
    (found,) = arrivals_of(
        msgspec.json.encode(body), headers, 17, 0, 7, Judging(default, limited_after_ms)
    )
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *[({**EVENT, name: LONG}, name) for name in NAMES],
        *[([{**EVENT, name: LONG}], name) for name in NAMES],
        *[({**CANCEL, name: LONG}, name) for name in NAMES if name != "code"],
        ({**CANCEL, "correction_id": LONG}, "correction_id"),
        ({**CANCEL, "operation": "amend", "event": {**EVENT, "code": LONG}}, "code"),
    ],
)
def test_a_name_that_is_too_long_is_refused(body: Any, field: str) -> None:
    found = arrived(body, 16)
    assert isinstance(found, Refusal)
    assert (found.code, found.message) == (RefusalCode.TOO_LARGE, f"{field} may have 1024 bytes")
    for limited_after_ms in (17, NEVER_MS):
        before = arrived(body, limited_after_ms)
        assert isinstance(before, Arrival | CorrectionArrival)
        assert hang_on_limits([before])


def test_the_name_in_a_header_counts_as_well() -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_subject", b"s"), ("ce_id", b"t" * (ID_BYTES + 1))]
    found = arrived({}, 16, [*headers, ("ce_type", b"c")])
    assert isinstance(found, Refusal)
    assert found.message == "transaction_id may have 1024 bytes"


@pytest.mark.parametrize("name", NAMES)
def test_the_longest_name_is_taken(name: str) -> None:
    found = arrived({**EVENT, name: LONGEST}, 16)
    assert isinstance(found, Arrival)
    assert not hang_on_limits([found])


def test_nothing_is_raised_for_each_element_that_is_no_object() -> None:
    """Thousands of them in a record delay what came behind it by their time."""
    elements = elements_of(b"[" + b",".join([b"1", b'"{"', b"null", b"-0.5"] * 250) + b"]")
    raised = 0

    def count(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal raised
        # From 3.12 on a generator's end is told, too.
        raised += event == "exception" and not issubclass(arg[0], StopIteration)  # type: ignore[index]
        return count

    sys.settrace(count)
    try:
        found = list(arrive_elements(enumerate(elements), (0, 0, 0), Judging(), {}))
    finally:
        sys.settrace(None)
    message = "an event must be a JSON object"
    assert found == [
        Refusal(RefusalCode.INVALID_EVENT, message, body, index)
        for index, body in enumerate(elements)
    ]
    assert raised == 0
