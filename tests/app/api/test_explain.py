"""`GET …/usage/explain`: which instants can be asked about."""

from __future__ import annotations

import pytest

from tests.app.api.conftest import Running

# The clock stands at 2024-03-15T12:00:00Z, and events may be dated 3,652 days ahead of it.
PATH = "/api/v1/customers/s/usage/explain?external_subscription_id=s&billable_metric_code=c&at={at}"


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("never", "invalid_date"),
        ("9999-06-01", "value_is_out_of_range"),
        ("2034-03-15T12:00:00.001Z", "value_is_out_of_range"),
    ],
)
async def test_an_instant_that_no_event_can_have_is_refused(
    api: Running, at: str, code: str
) -> None:
    answer = await api.call("GET", PATH.format(at=at))
    assert (answer.status, answer.body["error_details"]) == (422, {"at": [code]})


async def test_the_last_instant_of_an_event_can_be_asked_about(api: Running) -> None:
    answer = await api.call("GET", PATH.format(at="2034-03-15T12:00:00Z"))
    assert (answer.status, answer.body["code"]) == (404, "usage_period_not_found")
