"""Explain, trace and series against a running worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import pytest

from app.api.schemas.proofs import ExplanationAnswer
from app.api.schemas.usage import UsageSeriesAnswer
from app.billing_periods.instants import parse_iso8601_ms
from app.cli.explain import explain
from app.cli.verify import verify
from app.definitions.indexes.places import Places
from app.main import Worker
from app.settings import Settings
from tests.live.proofs import (
    CUSTOMER,
    METRICS,
    NAMES,
    a_cell,
    arrivals_of,
    define,
    explained_of,
    folded_events,
    is_folded,
    run,
    verified,
)
from tests.world.live.api import Api, Json
from tests.world.live.producer import foreign_producer, raw_event, send_in_turn
from tests.world.live.world import Months
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def test_explain_computes_the_live_figures_of_every_type(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    events = await folded_events(live_settings, worker, api, 300)
    for code in METRICS:
        for name in NAMES[:2]:
            usage = await api.current_usage(CUSTOMER, name)
            (charge,) = (c for c in usage["charges_usage"] if c["billable_metric"]["code"] == code)
            answer = await explained_of(api, name, code)
            explanation = answer["explanation"]
            assert explanation["equal"], explanation
            shown = sum(Decimal(cell["recomputed"]["units"]) for cell in explanation["cells"])
            assert shown == Decimal(charge["units"]), code
            counted = [e for e in explanation["events"] if e["status"] == "counted"]
            mine = [e for e in events if (e["external_subscription_id"], e["code"]) == (name, code)]
            start_ms = Months().starts_ms[2]
            if not METRICS[code].get("recurring"):
                mine = [e for e in mine if Decimal(e["timestamp"]) * 1000 >= start_ms]
            assert sorted(e["transaction_id"] for e in counted) == sorted(
                e["transaction_id"] for e in mine
            )
            assert answer["meta"]["total_count"] == len(explanation["events"])
            ExplanationAnswer.model_validate(answer)

    by_days = await explained_of(api, NAMES[0], "traffic", "&per_event=true&breakdown=days")
    ExplanationAnswer.model_validate(by_days)
    for cell in by_days["explanation"]["cells"]:
        assert cell["per_event"] is None
        assert cell["breakdown"] is None
        units = sum(Decimal(day["value"]) for day in cell["days"])
        assert units == Decimal(cell["recomputed"]["units"])

    # Page by page it is the same list; the figures are of all events on every page.
    whole = await explained_of(api, NAMES[0], "stored")
    parts = [
        await explained_of(api, NAMES[0], "stored", f"&per_page=3&page={p}") for p in (1, 2, 3)
    ]
    listed = [e for part in parts for e in part["explanation"]["events"]]
    assert listed == whole["explanation"]["events"][:9]
    assert all(p["explanation"]["cells"] == whole["explanation"]["cells"] for p in parts)
    # What is chosen is a part of it, and the counts are of all.
    for status in ("counted", "ignored"):
        chosen = await explained_of(api, NAMES[0], "stored", f"&status={status}")
        same = [e for e in whole["explanation"]["events"] if e["status"] == status]
        assert chosen["explanation"]["events"] == same
        assert chosen["meta"]["total_count"] == len(same)
        assert chosen["explanation"]["counts"] == whole["explanation"]["counts"]

    told = await run(worker, explain, NAMES[0], "traffic", "-o", "table")
    assert told.exit_code == 0, told.output
    assert "equal" in told.stdout
    cell = a_cell(worker, NAMES[0], "traffic")
    cell.state.digest ^= 1
    told = await run(worker, explain, NAMES[0], "traffic", "--customer", CUSTOMER)
    assert told.exit_code == 1, told.output


async def test_explain_of_a_closed_period_shows_what_is_published(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await folded_events(live_settings, worker, api, 120)
    at = Months().named(1)

    async def is_published() -> bool:
        answer = await explained_of(api, NAMES[0], "calls", f"&at={at}")
        cells = answer["explanation"]["cells"]
        return bool(cells) and all(
            cell["published"] is not None
            and cell["published"]["digest"] == cell["live"]["digest"]
            and cell["equal"]
            for cell in cells
        )

    await eventually(is_published, True)


NOT_EXPLAINED = [
    ("external_subscription_id=sub-0", 422, "billable_metric_code"),
    ("billable_metric_code=calls", 422, "external_subscription_id"),
    ("external_subscription_id=sub-0&billable_metric_code=calls&at=never", 422, "at"),
    ("external_subscription_id=nobody&billable_metric_code=calls", 404, "subscription"),
    (
        "external_subscription_id=sub-0&billable_metric_code=calls&at=2000-01-01",
        404,
        "usage_period",
    ),
]
"""A query, its status, and what the answer names."""


async def test_explain_refuses(worker: Worker, api: Api) -> None:
    await define(api)
    for query, status, where in NOT_EXPLAINED:
        got, answer = await api.call("GET", f"/customers/{CUSTOMER}/usage/explain?{query}")
        assert got == status, query
        assert where in json.dumps(answer), query


async def test_trace_says_what_became_of_an_event_and_why(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await define(api)
    now = f"{Months().now_ms // 1000}"
    sub, long_ago = NAMES[0], "946684800"
    sent = [
        raw_event(sub, "counts", "traffic", now, gb="2.5", region="eu"),
        raw_event(sub, "counts", "traffic", now, gb="2.5", region="eu"),
        raw_event(sub, "counts", "traffic", now, gb="3", region="eu"),
        raw_event(sub, "no-number", "traffic", now, gb="much"),
        raw_event(sub, "no-property", "traffic", now),
        raw_event(sub, "too-long", "traffic", now, gb="1" * 60),
        raw_event(sub, "unknown-code", "nothing", now),
        raw_event("nobody", "unknown-subscription", "calls", now),
        raw_event(sub, "before-all", "calls", long_ago),
        raw_event(sub, "odd", "users", now, user="u", operation_type="maybe"),
        raw_event(sub, "out-of-range", "calls", "9999999999"),
    ]
    async with foreign_producer(live_settings) as producer:
        await send_in_turn(producer, live_settings.topic(live_settings.raw_topic), sent)
    await is_folded(worker, 8)

    (first, again, other) = await arrivals_of(api, "counts", sub)
    assert (first["status"], first["reason"]) == ("counted", None)
    (charge,) = first["charges"]
    assert (charge["counted"], charge["value"]) == (True, "2.5")
    assert charge["filters"] == {"region": ["eu"]}
    assert charge["period"]["from"].startswith(Months().named(2)[:10])
    assert (again["status"], again["reason"]) == ("duplicate", "identical")
    assert again["duplicate_of"] == first["position"]
    assert (other["status"], other["reason"]) == ("duplicate", "conflicting")

    expected = {
        "no-number": ("ignored", "not_numeric"),
        "no-property": ("ignored", "missing_property"),
        "too-long": ("ignored", "invalid_value"),
        "unknown-code": ("ignored", "unknown_code"),
        "before-all": ("ignored", "outside_periods"),
        "odd": ("ignored", "unknown_operation_type"),
        "out-of-range": ("refused", "timestamp_out_of_range"),
    }
    for transaction_id, wanted in expected.items():
        (found,) = await arrivals_of(api, transaction_id, sub)
        assert (found["status"], found["reason"]) == wanted, transaction_id
    (found,) = await arrivals_of(api, "unknown-subscription")
    assert (found["status"], found["reason"]) == ("ignored", "unknown_subscription")
    status, _ = await api.call("GET", "/events/never-sent/trace")
    assert status == 404


async def test_corrected_events_are_traced_and_proved(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await define(api)
    now, sub = f"{Months().now_ms // 1000}", NAMES[0]
    sent = [raw_event(sub, f"c{number}", "traffic", now, gb=f"{number}") for number in range(1, 4)]
    async with foreign_producer(live_settings) as producer:
        await send_in_turn(producer, live_settings.topic(live_settings.raw_topic), sent)
    await is_folded(worker, 3)
    amended = {
        "transaction_id": "c2",
        "external_subscription_id": sub,
        "code": "traffic",
        "timestamp": now,
        "properties": {"gb": "20"},
    }
    for correction in (
        {"transaction_id": "c1", "operation": "cancel"},
        {"transaction_id": "c2", "operation": "amend", "event": amended},
    ):
        body = {"external_subscription_id": sub, **correction}
        await api.post("/events/corrections", {"correction": body})

    async def shown() -> bool:
        # A refold of the first correction may count the second, too: the next one makes it so.
        usage = await api.current_usage(CUSTOMER, sub)
        return (await api.units(CUSTOMER, sub)).get("traffic") == 23 and not usage["stale"]

    await eventually(shown, True)
    (cancelled,) = await arrivals_of(api, "c1", sub)
    assert (cancelled["status"], cancelled["charges"]) == ("cancelled", [])
    (counted,) = await arrivals_of(api, "c2", sub)
    assert (counted["status"], counted["amended"]) == ("counted", True)
    assert counted["charges"][0]["value"] == "20.0"
    explanation = (await explained_of(api, sub, "traffic"))["explanation"]
    assert explanation["equal"]
    assert explanation["counts"] == {"cancelled": 1, "counted": 2}
    assert (await verified(worker))[0] == 0

    for owned in worker.engine.owned.values():
        owned.state.corrections.rows._by_key = Places()
    status, found = await verified(worker)
    lost = [(d["kind"], d["refolded"]["transaction_id"]) for d in found["differences"]]
    assert (status, sorted(lost)) == (1, [("correction", "c1"), ("correction", "c2")])
    said = (await run(worker, verify, "--subscription", sub)).stdout.replace("\n", " ")
    assert said.count("was never taken") == 2


async def test_series_add_up_to_the_usage(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    events = await folded_events(live_settings, worker, api, 300)
    months = Months()
    since = months.named(2)
    usage = await api.current_usage(CUSTOMER, NAMES[0])
    figures = {c["billable_metric"]["code"]: c for c in usage["charges_usage"]}
    by_day = await _series(api, "calls", f"&window=day&timezone=Europe/Paris&from={since}")
    by_hour = await _series(api, "calls", f"&window=hour&from={since}")
    for series in (by_day, by_hour):
        total = sum(value["events_count"] for value in series)
        extra = _counted_before(events, series[0]["from"], months.starts_ms[2])
        assert total == figures["calls"]["events_count"] + extra
    (traffic,) = await _series(api, "traffic", f"&window=month&from={since}")
    assert traffic["units"] == figures["traffic"]["units"]
    (users,) = await _series(api, "users", f"&window=month&from={since}")
    assert users["units"] == figures["users"]["units"]


def _counted_before(events: Sequence[Json], first: str, month_ms: int) -> int:
    """Calls between the start of the first window and that of the month: the day began earlier."""
    since_ms = parse_iso8601_ms(first) or 0
    return sum(
        since_ms <= Decimal(event["timestamp"]) * 1000 < month_ms
        for event in events
        if (event["external_subscription_id"], event["code"]) == (NAMES[0], "calls")
    )


async def _series(api: Api, code: str, more: str) -> list[Json]:
    path = (
        f"/customers/{CUSTOMER}/usage/series?external_subscription_id={NAMES[0]}"
        f"&billable_metric_code={code}{more}"
    )
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    UsageSeriesAnswer.model_validate(answer)
    (charge,) = answer["usage_series"]["charges"]
    values: list[Json] = charge["values"]
    return values


NO_SERIES = [
    ("window=year", "window"),
    ("window=minute&from=2020-01-01&to=2020-02-01", "window"),
    ("timezone=Mars/Olympus", "timezone"),
    ("from=yesterday", "from"),
    ("from=2020-02-01&to=2020-01-01", "from"),
]
"""A query, and the field that the answer names."""


async def test_series_refuse(worker: Worker, api: Api) -> None:
    await define(api)
    named = f"external_subscription_id={NAMES[0]}&billable_metric_code=calls"
    for query, field in NO_SERIES:
        path = f"/customers/{CUSTOMER}/usage/series?{named}&{query}"
        status, answer = await api.call("GET", path)
        assert (status, list(answer["error_details"])) == (422, [field]), query
