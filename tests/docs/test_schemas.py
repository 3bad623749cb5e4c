"""docs/schemas is what the models say, and what is published keeps to it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app.definitions import commands
from app.records import read
from app.wire.usage_records import Topic
from tests.docs.schemas import FOLDER, documents, text_of
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story

NAMED = {
    "usage.recorded": "usage-record",
    "usage.revised": "usage-record",
    "usage.instant": "instant-record",
    "usage.instant_revised": "instant-record",
    "period.completed": "period-completed",
}


def validator(name: str) -> Any:
    return Draft202012Validator(json.loads((FOLDER / f"{name}.json").read_text()))


def wrong(name: str, value: Any) -> list[str]:
    return [f"{each.json_path}: {each.message}" for each in validator(name).iter_errors(value)]


@cache
def story() -> Story:
    """A month of filters, groups, presentation, single events, instants and an alert."""
    told = Story(close_grid_s=60)
    told.metric("m", "sum_agg", filters=[{"key": "region", "values": ["eu", "us"]}])
    for code, kind in (("n", "unique_count_agg"), ("o", "sum_agg"), ("p", "sum_agg")):
        told.metric(code, kind)
    keys = [{"value": "team"}]
    told.plan(
        {
            "properties": {"amount": "0", "pricing_group_keys": ["zone"]},
            "filters": [{"values": {"region": ["eu"]}, "properties": {"amount": "0"}}],
        },
        {"code": "o", "properties": {"presentation_group_keys": keys}},
        {
            "code": "p",
            "charge_model": "percentage",
            "properties": {"rate": "1", "per_transaction_min_amount": "1"},
        },
        {"code": "n", "pay_in_advance": True},
    )
    told.subscribe()
    alert = {
        "code": "a",
        "alert_type": "billable_metric_current_usage_units",
        "billable_metric_code": "m",
        "thresholds": [{"value": "5", "code": "five"}],
    }
    told.define("2024-01-02", commands.create_alert(ORG, SUBSCRIPTION, alert))
    for day, region in ((3, "eu"), (4, "us"), (5, "eu")):
        for code in ("m", "o", "p"):
            told.send(f"2024-01-0{day}", code, v=f"{day}.5", region=region, zone="z", team="t")
        told.send(f"2024-01-0{day}T10:00:00", code="n", v=region)
    told.append("2024-01-08", cancel("t3"))
    told.send("2024-01-20", appended="2024-02-03", v="9", region="eu")
    return told


@pytest.mark.parametrize("name", documents())
def test_a_file_is_what_the_models_say(name: str) -> None:
    """`python -m tests.docs.schemas` writes them anew."""
    assert (FOLDER / name).read_text() == text_of(documents()[name])


def test_no_other_file_is_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(documents())


@pytest.mark.parametrize("name", [name for name in documents() if "api.json" not in name])
def test_each_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(json.loads((FOLDER / name).read_text()))


def test_records_keep_to_their_schemas_and_a_consumer_reads_them() -> None:
    messages = story().messages("2024-02-20")
    assert {each["type"] for each in messages} == set(NAMED)
    for field in ("per_event", "presentation_breakdowns", "grouped_by", "filters"):
        assert any(each.get(field) for each in messages), field
    for each in messages:
        assert wrong(NAMED[each["type"]], each) == []
        assert read(json.dumps(each)) is not None


def test_alerts_keep_to_their_schema() -> None:
    topic: Topic = "usage-alerts"
    messages = story().messages("2024-02-20", topic)
    assert messages
    assert [wrong("alert-triggered", each) for each in messages] == [[]] * len(messages)


def test_what_producers_send_keeps_to_its_schema() -> None:
    assert wrong("raw-event", raw("m", "t", 0, v="1")) == []
    cloud = {"specversion": "1.0", "id": "t", "type": "m", "subject": "s", "source": "/"}
    assert wrong("cloud-event", {**cloud, "data": {"v": "1"}}) == []
    for each in (cancel("t"), amend(raw("m", "t", 0, v="1"))):
        assert wrong("correction", each) == []


@pytest.mark.parametrize("field", ["units", "billing", "digest", "charge"])
def test_a_record_that_lacks_a_field_is_found(field: str) -> None:
    record = dict(story().records("2024-02-20")[-1])
    del record[field]
    assert wrong("usage-record", record)


def test_a_record_of_version_2_that_lacks_what_version_1_has_not_is_found() -> None:
    record = dict(story().records("2024-02-20")[-1])
    del record["charge"]["invoiceable"]
    assert wrong("usage-record", record)
    assert wrong("usage-record", record | {"schema_version": 1}) == []
