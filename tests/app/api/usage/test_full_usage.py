"""current_usage with full_usage by REST: who may ask for it."""

from __future__ import annotations

import pytest

from app.meter.errors import TooManyGroups
from tests.app.api.conftest import Running
from tests.world import bodies

V1 = "/api/v1"
USAGE = f"{V1}/customers/c/current_usage?external_subscription_id=s&full_usage=true"


@pytest.fixture
async def told(api: Running) -> Running:
    """A count, a prorated sum and an average; two events in two months."""
    charges = []
    for code, kind, prorated in (
        ("calls", "count_agg", False),
        ("seats", "sum_agg", True),
        ("level", "weighted_sum_agg", False),
    ):
        field = {} if kind == "count_agg" else {"field_name": "v"}
        await api.make_metric(code, kind, recurring=prorated, **field)
        charges.append(bodies.charge(code, prorated=prorated))
    await api.make_plan("p", charges)
    await api.subscribe("s", "p", subscription_at="2024-01-01T00:00:00Z")
    for number, at in enumerate((1_707_523_200, 1_710_028_800)):
        await api.send("s", f"t{number}", "calls", at, a="b")
    return api


@pytest.mark.parametrize("query", ["charge_code=calls", "billable_metric_code=calls"])
async def test_it_begins_with_the_subscription(told: Running, query: str) -> None:
    usage = (await told.must("GET", f"{USAGE}&{query}"))["customer_usage"]
    assert [charge["units"] for charge in usage["charges_usage"]] == ["2.0"]
    assert usage["from_datetime"] == "2024-01-01T00:00:00Z"
    assert usage["to_datetime"] == "2024-03-31T23:59:59Z"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        pytest.param("", 405, "full_usage_not_allowed", id="nothing chosen"),
        pytest.param("skip_grouping=true", 405, "full_usage_not_allowed", id="no group chosen"),
        pytest.param("group[a]=b", 405, "full_usage_not_allowed", id="all charges"),
        pytest.param("charge_code=seats", 405, "full_usage_not_allowed", id="prorated"),
        pytest.param("charge_code=level", 405, "full_usage_not_allowed", id="an average"),
        pytest.param("charge_code=calls&group[a]=b", 200, None, id="both chosen"),
        pytest.param("charge_code=none", 404, "charge_not_found", id="unknown"),
    ],
)
async def test_it_is_for_charges_that_do_not_depend_on_a_length(
    told: Running, query: str, status: int, code: str | None
) -> None:
    answer = await told.call("GET", f"{USAGE}&{query}")
    assert (answer.status, answer.body.get("code")) == (status, code)


async def test_a_group_is_enough_where_all_charges_may_be_asked(told: Running) -> None:
    plan = bodies.plan("p", [bodies.charge("calls")])
    await told.must("PUT", f"{V1}/plans/p", {"plan": plan})
    usage = (await told.must("GET", f"{USAGE}&group[a]=b"))["customer_usage"]
    assert [charge["units"] for charge in usage["charges_usage"]] == ["2.0"]


async def test_too_many_groups_are_refused(told: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise TooManyGroups

    monkeypatch.setattr(told.meter, "regrouped_usage", refused)
    answer = await told.call("GET", f"{USAGE}&charge_code=calls")
    assert answer.status == 422
    assert answer.body["error_details"] == {"full_usage": ["too_many_groups"]}
