"""Published messages against what the logs make: missing, surplus, different, and twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.meter.evidence import Difference
from app.offline.comparison import Comparison, MessagePlace
from app.offline.proof import TOPICS
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

CUT_MS = ms("2024-02-10")


def published() -> list[PublishedRecord]:
    """Instants, an alert, a closing record and its completion."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True}).subscribe()
    alert = {
        "alert_type": "billable_metric_current_usage_units",
        "code": "many",
        "billable_metric_code": "m",
        "thresholds": [{"value": "5"}],
    }
    told.define("2024-01-02", commands.create_alert(ORG, SUBSCRIPTION, alert))
    told.send("2024-01-10", v="3").send("2024-01-11", v="4")
    return told.meter("2024-02-10").records


def compared(
    found: Sequence[PublishedRecord], folded: Sequence[PublishedRecord], kept_from: int = 0
) -> tuple[dict[str, int], list[Difference]]:
    def cut_of(name: SubscriptionKey) -> int | None:
        return CUT_MS if name == (ORG, SUBSCRIPTION) else None

    comparison = Comparison(cut_of, lambda name: 0)
    for offset, record in enumerate(found[kept_from:], kept_from):
        place = MessagePlace(record.topic, 0, offset)
        first_kept = offset == kept_from > 0
        comparison.find(place, record.headers, record.value, first_kept=first_kept)
    if kept_from == len(found):
        for topic in TOPICS:
            comparison.keeps_nothing(topic, 0)
    for record in folded:
        comparison.expect(record)
    comparison.end()
    values = {MessagePlace(r.topic, 0, offset): r.value for offset, r in enumerate(found)}
    told = [
        each.difference(0, None if each.published is None else values[each.published])
        for each in comparison.differing
    ]
    return {str(topic): n for topic, n in comparison.compared.items()}, told


def header(record: PublishedRecord, name: str) -> str:
    return dict(record.headers)[name].decode()


def test_each_message_of_each_topic_is_compared() -> None:
    records = published()
    assert compared(records, records) == ({"usage-records": 4, "usage-alerts": 1}, [])


@pytest.mark.parametrize("which", range(5))
def test_one_that_is_missing_is_named(which: int) -> None:
    records = published()
    missing = records[which]
    _, (told,) = compared([r for r in records if r is not missing], records)
    assert (told.topic, told.record_id) == (missing.topic, header(missing, "ce_id"))
    assert told.external_subscription_id == SUBSCRIPTION
    assert "place" not in told.live
    assert told.refolded


def test_one_that_no_event_accounts_for_is_named() -> None:
    records = published()
    _, told = compared(records, records[:-1])
    assert [(each.record_id, each.live["place"], each.refolded) for each in told] == [
        (header(records[-1], "ce_id"), "0:4", {})
    ]


def test_one_that_says_something_else_tells_what() -> None:
    records = published()
    alert = next(record for record in records if record.topic == "usage-alerts")
    other = replace(alert, value=alert.value.replace(b'"7.0"', b'"8.0"'))
    _, (told,) = compared([other if r is alert else r for r in records], records)
    assert told.metric_code == "m"
    assert told.live == {"current_value": "8.0", "place": f"0:{records.index(alert)}"}
    assert told.refolded == {"current_value": "7.0"}


def test_other_bytes_of_the_same_content_differ() -> None:
    records = published()
    other = replace(records[0], value=records[0].value.replace(b",", b", "))
    _, (told,) = compared([other, *records[1:]], records)
    assert told.live == {"bytes": "differ", "place": "0:0"}


def test_one_that_stands_there_twice_is_named() -> None:
    records = published()
    _, (told,) = compared([*records, records[0]], records)
    assert (told.live["first_place"], told.live["place"]) == ("0:0", "0:5")


def test_later_cuts_and_other_subscriptions_are_let_be() -> None:
    records = published()
    source, subject, _ = records[0].about
    at_another = (source, subject, ("ce_time", b"2024-02-10T00:01:00.000Z"))
    later = replace(records[0], about=at_another)
    source, _, time = records[1].about
    foreign = replace(records[1], about=(source, ("ce_subject", b"another"), time))
    assert compared([*records, later, foreign], [*records, later]) == compared(records, records)


def test_what_retention_has_taken_is_not_missing() -> None:
    records = published()
    for kept_from in (1, len(records)):
        count, told = compared(records, records, kept_from)
        assert told == []
        assert sum(count.values()) == len(records) - kept_from
