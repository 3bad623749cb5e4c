"""What is not counted is counted by its reason, with a few samples of each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.meter.evidence import Uncounted, UncountedSample
from tables.not_counted import NotCounted
from tests.world.bodies import charge
from tests.world.clock import ms
from tests.world.events import arrived, raw
from tests.world.story import Story


def story() -> Story:
    told = Story().metric("m", "sum_agg").metric("unused", "count_agg").metric("free", "count_agg")
    told.plan(charge(), charge("unused")).subscribe()
    return told.subscribe(
        external_id="later", subscription_at="2024-06-01T00:00:00Z", external_customer_id="other"
    )


@pytest.mark.parametrize(
    ("at", "more", "reason"),
    [
        ("2024-01-02", {"code": "m"}, "missing_property"),
        ("2024-01-02", {"code": "nothing"}, "unknown_code"),
        ("2024-01-02", {"code": "free"}, "no_charge"),
        ("2023-06-01", {"code": "m"}, "outside_periods"),
        ("2024-01-02", {"external_subscription_id": "nobody"}, "unknown_subscription"),
        ("2024-01-02", {"external_subscription_id": "later"}, "pending"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_reason(at: str, more: dict[str, str], reason: str) -> None:
    value = {**raw("m", "t", ms(at)), **more}
    meter = story().send("2024-01-02", v=1).append("2024-01-02", value).meter("2024-01-10")
    assert meter.partition.ignored == {reason: 1}
    (told,) = meter.partition.not_counted.of("org")
    assert told == Uncounted(
        reason,
        value["code"],
        1,
        ms("2024-01-02"),
        ms("2024-01-02"),
        [UncountedSample("t", value["external_subscription_id"], ms(at))],
    )
    assert list(meter.partition.not_counted.of("another")) == [None]


def test_samples_of_a_reason_and_code_are_few() -> None:
    slices = [NotCounted(), NotCounted()]
    for number in range(30):
        slices[number % 2].note("no_charge", arrived("code", number, number))
    kept = NotCounted()
    for each in slices:
        kept.take(each)
    (told,) = kept.of("org")
    assert told is not None
    assert (told.events_count, told.first_ms, told.last_ms) == (30, 0, 29)
    assert [sample.timestamp_ms for sample in told.samples] == list(range(0, 20, 2))


def test_reasons_and_codes_beyond_the_limit_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tables.not_counted.NOT_COUNTED_KINDS", 3)
    kept = NotCounted()
    for number in range(10):
        kept.note("unknown_code", arrived(f"c{number}", number, number))
    for number in range(10):
        kept.note(
            "unknown_code", replace(arrived("c", number, number), organization_id=f"o{number}")
        )
    told = [(one.reason, one.code, one.events_count) for one in kept.of("org") if one is not None]
    assert told == [
        *(("unknown_code", f"c{number}", 1) for number in range(3)),
        ("other", "other", 7),
    ]
    assert len(list(kept.of("org"))) == 6
