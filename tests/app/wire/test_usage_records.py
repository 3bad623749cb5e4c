"""The usage record: bytes, ids and field order are a contract (records-and-cuts §5)."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from app.definitions.model import SettingsRecord
from app.wire.identity import digest_of
from app.wire.usage_records import PublishedRecord, cell_id, record_id
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAMESPACE = uuid5(NAMESPACE_URL, "meterstream:usage-records")

RECORD_FIELDS = [
    "schema_version",
    "id",
    "cell_id",
    "type",
    "revision",
    "organization_id",
    "external_customer_id",
    "external_subscription_id",
    "lago_subscription_id",
    "plan_code",
    "lago_charge_id",
    "lago_charge_filter_id",
    "charge",
    "amount_currency",
    "billable_metric",
    "filters",
    "grouped_by",
    "period",
    "units",
    "prorated_units",
    "total_aggregated_units",
    "precise_total_amount_cents",
    "events_count",
    "previous_units",
    "delta_units",
    "billing",
    "billed_in_advance",
    "presentation_breakdowns",
    "per_event",
    "closing_reason",
    "revision_reason",
    "closed_at",
    "final_after",
    "definitions_offset",
    "digest",
]
CHARGE_FIELDS = [
    "lago_id",
    "lago_parent_id",
    "code",
    "charge_model",
    "pay_in_advance",
    "invoiceable",
    "prorated",
    "min_amount_cents",
    "properties",
    "filter_properties",
]
METRIC_FIELDS = ["lago_id", "code", "name", "aggregation_type", "recurring"]
PERIOD_FIELDS = ["from", "to", "timezone", "charges_duration_in_days"]
COMPLETION_FIELDS = [
    "schema_version",
    "id",
    "cell_id",
    "type",
    "revision",
    "organization_id",
    "external_customer_id",
    "external_subscription_id",
    "lago_subscription_id",
    "plan_code",
    "period",
    "records_count",
    "closing_reason",
    "closed_at",
    "final_after",
    "definitions_offset",
    "digest",
]


def published(
    *v: str, late: str | None = None, settings: SettingsRecord = SETTINGS
) -> list[PublishedRecord]:
    """Records of one period with events of group x, and perhaps a late one."""
    live = Live(definitions_of(["sum"], settings))
    live.define_all()
    times = [START_MS] * len(v) + ([START_MS + WEEK_MS + 1] if late else [])
    values = [*v, *([late] if late else [])]
    live.deliver(
        [
            arrived("sum", i, START_MS, at_ms, v=value, g="x")
            for i, (at_ms, value) in enumerate(zip(times, values, strict=True))
        ]
    )
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    return live.records


def body(record: PublishedRecord) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(record.value)
    return decoded


def test_field_order_of_a_record() -> None:
    recorded, completed = published("1.50")
    assert list(body(recorded)) == RECORD_FIELDS
    assert list(body(recorded)["charge"]) == CHARGE_FIELDS
    assert list(body(recorded)["billable_metric"]) == METRIC_FIELDS
    assert list(body(recorded)["period"]) == PERIOD_FIELDS
    assert list(body(completed)) == COMPLETION_FIELDS
    assert b": " not in recorded.value


def test_a_log_of_an_earlier_version_keeps_the_fields_of_its_records() -> None:
    earlier = msgspec.structs.replace(SETTINGS, fold_version=1)
    recorded, completed = (body(record) for record in published("1.50", settings=earlier))
    later = {"billing", "billed_in_advance", "presentation_breakdowns", "per_event"}
    assert list(recorded) == [field for field in RECORD_FIELDS if field not in later]
    later = {"lago_parent_id", "invoiceable", "min_amount_cents"}
    assert list(recorded["charge"]) == [field for field in CHARGE_FIELDS if field not in later]
    assert (recorded["schema_version"], completed["schema_version"]) == (1, 1)
    assert [body(record)["schema_version"] for record in published("1.50")] == [2, 2]


def test_figures_of_revision_0() -> None:
    recorded, completed = (body(record) for record in published("1.50", "2"))
    assert recorded["type"] == "usage.recorded"
    assert (recorded["revision"], recorded["units"]) == (0, "3.5")
    assert recorded["total_aggregated_units"] == "3.5"
    assert recorded["events_count"] == 2
    empty = ("previous_units", "delta_units", "prorated_units", "revision_reason")
    assert [recorded[name] for name in empty] == [None] * 4
    assert recorded["precise_total_amount_cents"] is None
    assert recorded["grouped_by"] == {"g": "x"}
    assert recorded["filters"] is None
    assert recorded["charge"]["properties"] == {"amount": "1", "pricing_group_keys": ["g"]}
    assert recorded["period"] == {
        "from": "2024-01-01T00:00:00Z",
        "to": "2024-01-07T23:59:59Z",
        "timezone": "UTC",
        "charges_duration_in_days": 7,
    }
    assert recorded["closed_at"] == "2024-01-08T00:00:00.000Z"
    assert recorded["final_after"] == "2024-02-17T00:00:00.000Z"
    assert recorded["definitions_offset"] == 4
    assert completed["records_count"] == 1
    assert completed["digest"] == recorded["digest"]


def test_figures_of_a_revision() -> None:
    _, _, revised, completed = (body(record) for record in published("1.50", late="-4"))
    assert revised["type"] == "usage.revised"
    assert (revised["revision"], revised["units"]) == (1, "0.0")
    assert (revised["previous_units"], revised["delta_units"]) == ("1.5", "-1.5")
    assert revised["revision_reason"] == "late_events"
    assert revised["closed_at"] == "2024-01-08T01:00:00.000Z"
    assert (completed["type"], completed["revision"]) == ("period.completed", 1)


def test_ids_follow_from_names() -> None:
    recorded = body(published("1")[0])
    name = msgspec.json.encode(
        [
            ORG,
            recorded["lago_subscription_id"],
            recorded["lago_charge_id"],
            None,
            [["g", "x"]],
            "2024-01-01T00:00:00.000Z",
        ]
    ).decode()
    assert recorded["cell_id"] == str(uuid5(NAMESPACE, name))
    assert recorded["id"] == str(uuid5(NAMESPACE, f"{recorded['cell_id']}:0"))


def test_ids_of_a_completion_and_of_no_groups() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    ((versions, _),) = live.partition.timelines.of((ORG, SUBSCRIPTION))
    subscription = versions.at()
    assert subscription is not None
    start = "2024-01-01T00:00:00.000Z"
    completion = f'["{ORG}","{subscription.id}",null,null,null,"{start}"]'
    assert cell_id(subscription, None, None, None, START_MS) == str(uuid5(NAMESPACE, completion))
    ungrouped = f'["{ORG}","{subscription.id}","c",null,[],"{start}"]'
    cell = cell_id(subscription, "c", None, (), START_MS)
    assert cell == str(uuid5(NAMESPACE, ungrouped))
    assert record_id(cell, 2) == str(uuid5(NAMESPACE, f"{cell}:2"))


def test_key_and_headers() -> None:
    record = published("1")[0]
    assert record.key == f"{ORG}-{SUBSCRIPTION}".encode()
    headers = dict(record.headers)
    assert headers["ce_id"].decode() == body(record)["id"]
    assert headers["ce_type"] == b"usage.recorded"
    assert headers["ce_subject"] == SUBSCRIPTION.encode()
    assert {"ce_specversion", "ce_source", "ce_time", "content-type"} <= headers.keys()


def test_digest_is_the_sum_over_events() -> None:
    recorded = body(published("1.50", "2")[0])
    parts = [("t0", "1.5"), ("t1", "2.0")]
    total = sum(digest_of(SUBSCRIPTION, t, START_MS, "sum", text) for t, text in parts)
    assert recorded["digest"] == f"{total % (1 << 128):032x}"
