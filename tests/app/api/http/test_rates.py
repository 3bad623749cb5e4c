"""A key's rate."""

from __future__ import annotations

import pytest

from app.api.http.errors import ApiError
from app.api.http.rates import RateLeft


class Now:
    """A clock that is set by hand."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


def wait_of(bucket: RateLeft, count: int) -> int:
    """Seconds to wait as told; 0: taken."""
    try:
        bucket.take(count)
    except ApiError as error:
        return int(error.headers["Retry-After"])
    return 0


def test_two_seconds_may_come_at_once() -> None:
    now = Now()
    bucket = RateLeft(10, now)
    assert [wait_of(bucket, 1) for _ in range(21)] == [0] * 20 + [1]
    now.s = 0.5
    assert [wait_of(bucket, 1) for _ in range(6)] == [0] * 5 + [1]


def test_a_long_pause_earns_no_more() -> None:
    now = Now()
    bucket = RateLeft(10, now)
    now.s = 1_000
    assert [wait_of(bucket, 1) for _ in range(21)].count(0) == 20


def test_more_than_the_bucket_holds_passes_once_and_is_paid_for() -> None:
    now = Now()
    bucket = RateLeft(10, now)
    assert wait_of(bucket, 100) == 0
    assert wait_of(bucket, 1) == 9, "8.1 s, in whole seconds"
    now.s = 8.0
    assert wait_of(bucket, 1) > 0
    now.s = 8.2
    assert wait_of(bucket, 1) == 0


@pytest.mark.parametrize("rate", [0.01, 0.4])
def test_a_slow_rate_lets_one_pass(rate: float) -> None:
    now = Now()
    bucket = RateLeft(rate, now)
    assert wait_of(bucket, 1) == 0
    wait_s = wait_of(bucket, 1)
    now.s = wait_s
    assert wait_of(bucket, 1) == 0
