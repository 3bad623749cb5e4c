"""`GET …/usage/explain`: which instants can be asked about, and what it says of a figure."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from app.api.http.query import Query
from app.api.usage.explain import explanation_json, wanted_group
from app.meter.evidence import (
    ChargeUsageSeries,
    ExplainedCell,
    ExplainQuery,
    Explanation,
    FigureTexts,
    PendingFigures,
    SeriesQuery,
    UsageSeries,
    WindowUsage,
)
from app.meter.usage import AsOf
from tests.app.api.conftest import Running
from tests.app.page.site import defined, send_event

# The clock stands at 2024-03-15T12:00:00Z, and events may be dated 3,652 days ahead of it.
PATH = "/api/v1/customers/s/usage/explain?external_subscription_id=s&billable_metric_code=c&at={at}"


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("never", "invalid_date"),
        ("2026", "invalid_date"),
        ("1790812800000", "invalid_date"),
        ("9999-06-01", "value_is_out_of_range"),
        ("2034-03-15T12:00:00.001Z", "value_is_out_of_range"),
    ],
)
async def test_an_instant_that_no_event_can_have_is_refused(
    api: Running, at: str, code: str
) -> None:
    answer = await api.call("GET", PATH.format(at=at))
    assert (answer.status, answer.body["error_details"]) == (422, {"at": [code]})


async def test_a_breakdown_that_there_is_none_of_is_refused(api: Running) -> None:
    answer = await api.call("GET", PATH.format(at="2024-03-15") + "&breakdown=hours")
    assert answer.body["error_details"] == {"breakdown": ["value_is_invalid"]}
    answer = await api.call("GET", PATH.format(at="2024-03-15") + "&breakdown=days")
    assert answer.status == 404


@pytest.mark.parametrize(
    "query", ["group[a]=", "group[a]=%20", "group[a]", 'group={"a":null}', 'group={"a":""}']
)
def test_a_blank_value_asks_for_the_null_group(query: str) -> None:
    assert wanted_group(Query(query)) == {"a": ""}


async def test_the_last_instant_of_an_event_can_be_asked_about(api: Running) -> None:
    await api.make_metric("c", "count_agg")
    answer = await api.call("GET", PATH.format(at="2034-03-15T12:00:00Z"))
    assert (answer.status, answer.body["code"]) == (404, "usage_period_not_found")


async def test_a_metric_that_there_never_was_is_named(api: Running) -> None:
    answer = await api.call("GET", PATH.format(at="2024-03-15T12:00:00Z"))
    assert (answer.status, answer.body["code"]) == (404, "billable_metric_not_found")


async def test_a_metric_that_never_was_has_no_figures_that_are_equal(api: Running) -> None:
    """Nor has one that is deleted, as in Lago, unless there is usage of it."""
    await defined(api)
    paths = [
        f"/api/v1/customers/acme/usage/{kind}?external_subscription_id=sub_1&billable_metric_code="
        for kind in ("explain", "series")
    ]
    for path in paths:
        answer = await api.call("GET", f"{path}nobody")
        assert (answer.status, answer.body["code"]) == (404, "billable_metric_not_found")
    assert [(await api.call("GET", f"{path}storage")).status for path in paths] == [200, 200]
    await api.must("DELETE", "/api/v1/billable_metrics/storage")
    for path in paths:
        answer = await api.call("GET", f"{path}storage")
        assert (answer.status, answer.body["code"]) == (404, "billable_metric_not_found")
    await send_event(api, "sub_1", "storage", properties={"gb": "1"})
    assert (await api.call("GET", f"{paths[0]}storage")).status == 200


async def test_a_series_of_a_metric_that_is_deleted_is_shown_where_it_has_usage(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await defined(api)
    await api.must("DELETE", "/api/v1/billable_metrics/storage")

    async def told(_: str, query: SeriesQuery) -> UsageSeries:
        used = WindowUsage(*query.windows[0], Decimal(0), Decimal(0), 1)
        return UsageSeries(
            external_subscription_id=query.external_subscription_id,
            metric_code=query.metric_code,
            aggregation_type="count_agg",
            charges=(ChargeUsageSeries("charge", "code", (used,)),),
            as_of=AsOf(0, 0, 0, 0),
        )

    monkeypatch.setattr(api.meter, "series", told)
    path = "/api/v1/customers/acme/usage/series?external_subscription_id=sub_1"
    shown = await api.must("GET", f"{path}&billable_metric_code=storage")
    assert len(shown["usage_series"]["charges"]) == 1


def test_published_pending_and_live_stand_apart() -> None:
    def figures(units: str, events: int) -> FigureTexts:
        return FigureTexts(
            units=units,
            prorated_units=None,
            total_aggregated_units=units,
            precise_total_amount_cents=None,
            events_count=events,
            digest="00" * 16,
        )

    cell = ExplainedCell(
        charge_id="c",
        charge_code="c",
        filter_values=None,
        grouped_by=(),
        live=figures("55.75", 37),
        recomputed=figures("55.75", 37),
        published=figures("50.75", 35),
        revision=1,
        pending=PendingFigures(0, Decimal("5.0"), 2, "late_events"),
    )
    explanation = Explanation(
        external_subscription_id="s",
        metric_code="c",
        from_ms=0,
        to_ms=1,
        timezone="UTC",
        cells=(cell, msgspec.structs.replace(cell, pending=None)),
        events=(),
        counts={},
        listed_count=0,
        as_of=AsOf(0, 0, 0, 0),
        stale=False,
    )
    query = ExplainQuery(external_subscription_id="s", metric_code="c", at_ms=0)
    shown = [*explanation_json(explanation, query)["cells"]]
    assert shown[0]["published"]["units"] == "50.75"
    assert shown[0]["live"]["units"] == "55.75"
    assert shown[0]["pending"] == {
        "cut": "1970-01-01T00:00:00.000Z",
        "events": 2,
        "delta_units": "5.0",
        "reasons": ["late_events"],
    }
    assert shown[1]["pending"] is None
