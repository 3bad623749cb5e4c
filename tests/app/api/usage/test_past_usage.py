"""A page of past usage is cut before anything is computed."""

from __future__ import annotations

import pytest

from app.meter.usage import PastPeriod, PeriodUsage
from tests.app.api.conftest import Running


async def test_only_the_periods_of_the_page_are_computed(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.make_plan("p", interval="weekly")
    await api.subscribe("s", "p", subscription_at="2010-01-01T00:00:00Z")
    computed: list[PastPeriod] = []
    compute = api.meter.period_usage

    async def counted(organization_id: str, name: str, period: PastPeriod) -> PeriodUsage:
        computed.append(period)
        return await compute(organization_id, name, period)

    monkeypatch.setattr(api.meter, "period_usage", counted)
    path = "/api/v1/customers/c/past_usage?external_subscription_id=s&per_page=2&page=3"
    answer = await api.must("GET", path)
    assert answer["meta"]["total_count"] > 500
    shown = [period["from_datetime"] for period in answer["usage_periods"]]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == len(computed) == 2
    answer = await api.must("GET", f"{path}&periods_count=5")
    assert (answer["meta"]["total_count"], len(answer["usage_periods"])) == (5, 1)
