"""Two workers: any of them answers any request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from app.api.answering import peers
from app.api.answering.call import Call, Reply
from app.api.answering.peers import PEER_TIMEOUT_S, Outgoing
from app.api.overview.overview_json import merged
from app.bounds.limits import BODY_BYTES
from app.bounds.turns import Turns, Work
from app.meter.events import ListedEvent
from app.meter.evidence import Uncounted, UncountedSample
from app.meter.usage import EvaluatedAlert
from tests.app.api.conftest import NOW_MS, Running, start
from tests.app.api.ledger import Clock
from tests.world import bodies


@dataclass
class Pair:
    """`near` is at home to sub_near, `far` to sub_far; one definitions log feeds both."""

    near: Running
    far: Running


@pytest.fixture
async def pair(session: ClientSession) -> AsyncIterator[Pair]:
    clock = Clock(NOW_MS)
    near, far = await start(session, clock), await start(session, clock)
    near.meter.elsewhere["sub_far"] = far.base_url
    far.meter.elsewhere["sub_near"] = near.base_url
    far.meter.definitions = near.meter.definitions
    yield Pair(near, far)
    for running in (near, far):
        assert running.server is not None
        await running.server.stop()


def event(transaction_id: str, subscription: str, **more: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "external_subscription_id": subscription,
        "code": "calls",
        **more,
    }


async def send(running: Running, sent: dict[str, Any]) -> Any:
    return await running.call("POST", "/api/v1/events", {"event": sent})


async def batch(running: Running, *events: Any, query: str = "") -> Any:
    return await running.call("POST", f"/api/v1/events/batch{query}", {"events": list(events)})


async def test_an_event_goes_to_its_home(pair: Pair) -> None:
    answer = await send(pair.near, event("t", "sub_far", properties={"a": 1}))
    assert answer.status == 200
    assert answer.headers["Meter-Position"] == "0:0"
    assert (len(pair.near.meter.taken), len(pair.far.meter.taken)) == (0, 1)
    again = await send(pair.near, event("t", "sub_far"))
    assert (again.status, again.headers["Meter-Duplicate"]) == (422, "conflicting")


async def test_usage_is_fetched_from_its_home(pair: Pair) -> None:
    await pair.near.make_metric("calls", "count_agg")
    await pair.near.make_plan("p", [bodies.charge("calls")])
    await pair.near.subscribe("sub_far", "p", "c/1")
    await send(pair.far, event("t", "sub_far"))
    for running in (pair.near, pair.far):
        body = await running.must(
            "GET",
            "/api/v1/customers/c%2F1/current_usage?external_subscription_id=sub_far&charge_code=calls",
        )
        assert body["customer_usage"]["charges_usage"][0]["units"] == "1.0"
    path = "/api/v1/customers/c%2F1/past_usage?external_subscription_id=sub_far"
    assert (await pair.near.must("GET", path))["usage_periods"] == []


async def test_an_alert_is_answered_by_its_home(pair: Pair) -> None:
    """It alone knows what the alert came to, also of one that is deleted."""
    near, alerts = pair.near, "/api/v1/subscriptions/sub_far/alerts"
    await near.make_metric("calls", "count_agg")
    await near.make_plan("p")
    await near.subscribe("sub_far", "p")
    alert = {
        "alert_type": "billable_metric_lifetime_usage_units",
        "code": "many",
        "billable_metric_code": "calls",
        "thresholds": [{"value": "10"}],
    }
    made = (await near.must("POST", alerts, {"alert": alert}))["alert"]
    assert (made["previous_value"], made["last_processed_at"]) == ("0.0", None)
    pair.far.meter.evaluated = EvaluatedAlert("7.0", NOW_MS)
    told = [
        *(await near.must("GET", alerts))["alerts"],
        (await near.must("GET", f"{alerts}/many"))["alert"],
        (await near.must("PUT", f"{alerts}/many", {"alert": {"name": "n"}}))["alert"],
        (await near.must("DELETE", f"{alerts}/many"))["alert"],
    ]
    seen = [(one["previous_value"], one["last_processed_at"]) for one in told]
    assert seen == [("7.0", "2024-03-15T12:00:00Z")] * 4
    await near.must("POST", alerts, {"alert": alert})
    # Whoever is asked next, it has it.
    assert (await near.call("DELETE", alerts)).status == 200
    assert (await near.must("GET", alerts))["alerts"] == []


async def test_a_batch_of_one_far_home_is_forwarded_whole(pair: Pair) -> None:
    answer = await batch(pair.near, event("a", "sub_far"), event("b", "sub_far"))
    assert [found["transaction_id"] for found in answer.body["events"]] == ["a", "b"]
    assert len(pair.far.meter.taken) == 2


async def test_a_mixed_batch_is_checked_at_every_home_first(pair: Pair) -> None:
    await send(pair.far, event("known", "sub_far"))
    mixed = [
        event("new", "sub_near"),
        event("also-new", "sub_far", timestamp="1700000000.5"),
        event("known", "sub_far", properties={"b": 1.50}),
    ]
    answer = await batch(pair.near, *mixed)
    assert answer.status == 422
    assert answer.body["error_details"] == {"2": {"transaction_id": ["value_already_exist"]}}
    assert answer.headers["Meter-Duplicate"] == "conflicting"
    assert pair.near.meter.taken == {}
    assert (await batch(pair.near, *mixed[:2])).status == 200
    assert len(pair.near.meter.taken) == 2


async def test_a_mixed_batch_that_a_home_finds_too_large(pair: Pair) -> None:
    """It is no want of a worker: sent again it would be too large again."""
    note = {"note": "x" * (BODY_BYTES // 99 - 150)}
    far = [event(f"t{number}", "sub_far", properties=note) for number in range(99)]
    mixed = [*far, event("t", "sub_near")]
    mixed[0]["properties"] = {"note": "x" * (len(note["note"]) + _room_left(mixed))}
    assert _room_left(mixed) == 0
    answer = await batch(pair.near, *mixed)
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert pair.near.meter.taken == {}


def _room_left(events: list[dict[str, Any]]) -> int:
    return BODY_BYTES - len(msgspec.json.encode({"events": events}))


async def test_a_mixed_batch_in_part(pair: Pair) -> None:
    await send(pair.far, event("known", "sub_far"))
    mixed = [event("known", "sub_far"), event("new", "sub_near")]
    answer = await batch(pair.near, *mixed, query="?partial=true")
    assert answer.status == 200
    assert [found["transaction_id"] for found in answer.body["events"]] == ["new"]
    assert list(answer.body["error_details"]) == ["0"]


async def test_a_forwarded_request_is_never_forwarded_again(pair: Pair) -> None:
    pair.far.meter.elsewhere["sub_far"] = pair.near.base_url
    answer = await send(pair.near, event("t", "sub_far"))
    assert (answer.status, answer.body["code"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("events", [[("t", "sub_far")], [("t", "sub_far"), ("u", "sub_near")]])
async def test_an_unreachable_owner_is_a_503_and_nothing_is_appended(
    pair: Pair, events: list[tuple[str, str]]
) -> None:
    assert pair.far.server is not None
    await pair.far.server.stop()
    answer = await batch(pair.near, *(event(*identity) for identity in events))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert pair.near.meter.taken == {}


async def test_an_event_is_found_wherever_it_is(pair: Pair) -> None:
    await send(pair.far, event("f", "sub_far"))
    assert (await pair.near.must("GET", "/api/v1/events/f"))["event"]["transaction_id"] == "f"
    answer = await pair.near.call("GET", "/api/v1/events/none")
    assert (answer.status, answer.body["code"]) == (404, "event_not_found")


async def test_who_has_an_event_is_believed_before_who_restores(
    pair: Pair, session: ClientSession
) -> None:
    third = await start(session, Clock(NOW_MS))
    assert third.server is not None
    pair.near.meter.elsewhere["sub_third"] = third.base_url
    restoring, has_it = sorted((pair.far, third), key=lambda running: running.base_url)
    await send(has_it, event("t", "at home there"))
    restoring.meter.restoring = True
    for transaction_id, status in (("t", 200), ("none", 503)):
        answer = await pair.near.call("GET", f"/api/v1/events/{transaction_id}")
        assert answer.status == status, answer.text
    await third.server.stop()


async def test_pages_of_events_are_merged(pair: Pair) -> None:
    for second in range(6):
        running, home = ((pair.near, "sub_near"), (pair.far, "sub_far"))[second % 2]
        await send(running, event(f"t{second}", home, timestamp=second, properties={"a": 1}))
    shown, page = [], 1
    while True:
        path = f"/api/v1/events?per_page=2&page={page}"
        body = await pair.near.must("GET", path)
        shown += [found["transaction_id"] for found in body["events"]]
        assert (body["meta"]["total_count"], body["meta"]["total_pages"]) == (6, 3)
        if body["meta"]["next_page"] is None:
            break
        page = body["meta"]["next_page"]
    assert shown == ["t5", "t4", "t3", "t2", "t1", "t0"]
    whole = await pair.near.must("GET", "/api/v1/events?whole=true&page=2&per_page=1")
    assert [found["transaction_id"] for found in whole["events"]] == shown
    assert (whole["meta"]["total_pages"], whole["meta"]["next_page"]) == (1, None)
    only_far = await pair.near.must("GET", "/api/v1/events?external_subscription_id=sub_far")
    assert only_far["meta"]["total_count"] == 3


async def test_of_what_another_worker_lists_only_what_is_asked_for_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be a hundred thousand: all of them at once would hold everything else up."""
    told: list[Any] = [[-9, "a", 0, 1, 0, 9], [-8, "b", 0, 2, 0, 8], "no place"]
    body = msgspec.json.encode({"places": told, "total_count": 3})

    async def replies(call: Call, outgoing: Outgoing) -> list[Reply]:
        return [Reply(body), Reply(body)]

    monkeypatch.setattr(peers, "ask_all", replies)
    call: Any = SimpleNamespace(api=SimpleNamespace(turns=Turns()))
    asked = Outgoing("GET", "/"), ListedEvent, Work("request")
    (first, second), count = await peers.ask_places(call, *asked)
    assert count == 6
    listed = [*islice(first, 2)]
    assert listed == [*islice(second, 2)] == [ListedEvent(*place) for place in told[:2]]
    with pytest.raises(msgspec.ValidationError):
        next(first)


async def test_the_page_shows_all_workers_that_answer(pair: Pair) -> None:
    await send(pair.near, event("n", "sub_near"))
    await send(pair.far, event("f", "sub_far"))
    overview = await pair.near.must("GET", "/api/page/overview")
    shown = {line["external_subscription_id"] for line in overview["usage"]}
    assert (shown, overview["usage_total"], overview["workers"]) == ({"sub_near", "sub_far"}, 2, 2)
    assert len(overview["partitions"]) == 1
    assert pair.far.server is not None
    await pair.far.server.stop()
    overview = await pair.near.must("GET", "/api/page/overview?search=near")
    assert (overview["usage_total"], overview["workers"]) == (1, 1)


async def test_the_page_adds_up_what_other_workers_tell(pair: Pair) -> None:
    """A rate of 12.5 events a second comes from each of two."""
    pair.far.meter.partition = 1
    answer = await pair.near.call("GET", "/page/view")
    assert answer.status == 200, answer.text
    assert "2 partitions, 14 events behind, 25 events/s" in answer.text


async def test_pages_of_two_workers_do_not_wait_for_each_other(pair: Pair) -> None:
    """Each asks the other, whose part is no page of its own, and is not made from one."""
    workers = (pair.near, pair.far)
    for _ in range(2):
        # One that waits for the other's page waits until it gives the other up.
        async with asyncio.timeout(PEER_TIMEOUT_S):
            pages = await asyncio.gather(
                *(worker.must("GET", "/api/page/overview") for worker in workers)
            )
        assert [page["workers"] for page in pages] == [2, 2]
        assert [len(page["each_worker"]) for page in pages] == [2, 2]


def test_of_a_partition_its_owner_tells() -> None:
    near, far = "http://near", "http://far"
    owns = {"partition": 4, "state": "running", "owner": None, "lag": 9}
    sees = {"partition": 4, "state": "elsewhere", "owner": None, "lag": None}
    for views, owner in (((near, sees), (far, owns)), far), (((near, owns), (far, sees)), None):
        (partition,) = merged([_overview(*view) for view in views], 10)["partitions"]
        assert (partition["state"], partition["lag"]) == ("running", 9)
        assert partition["owner"] == owner, "None is the worker that answers"


def test_the_most_used_of_all_workers_come_first() -> None:
    overviews = [_overview("http://near"), _overview("http://far")]
    for overview, counts in zip(overviews, [[7, 2], [9, 1]], strict=True):
        overview["usage"] = [{"events_count": count} for count in counts]
    shown = merged(overviews, 3)["usage"]
    assert [line["events_count"] for line in shown] == [9, 7, 2]


def test_a_code_that_two_workers_do_not_count_is_one() -> None:
    overviews = [_overview("http://near"), _overview("http://far"), _overview("http://older")]
    for overview, codes in zip(overviews, [["a", "b"], ["b", "c"]], strict=False):
        overview["not_counted_codes"] = codes
    assert merged(overviews, 3)["not_counted_lately"] == 3
    assert merged(overviews[2:], 3)["not_counted_lately"] is None


def _overview(worker: str, *partitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "now": "",
        "worker": worker,
        "partitions": list(partitions),
        "closing": [],
        "usage": [],
        "usage_total": 0,
        "records": [],
        "dead_letters": [],
    }


async def test_what_is_not_counted_is_told_by_all(pair: Pair) -> None:
    def kind(code: str, first_ms: int, samples: int) -> Uncounted:
        told = [UncountedSample(f"t{n}", "sub", 0) for n in range(samples)]
        return Uncounted("unknown_code", code, samples, first_ms, first_ms + 1000, told)

    pair.near.meter.uncounted = [kind("a", 2000, 8), kind("b", 0, 1)]
    pair.far.meter.uncounted = [kind("a", 1000, 9)]
    answer = (await pair.near.call("GET", "/api/v1/events/not_counted")).body
    assert answer["since"] is None
    first, second = answer["not_counted"]
    assert (second["code"], second["events_count"]) == ("b", 1)
    assert len(first.pop("samples")) == 10
    assert first == {
        "reason": "unknown_code",
        "code": "a",
        "events_count": 17,
        "first_at": "1970-01-01T00:00:01.000Z",
        "last_at": "1970-01-01T00:00:03.000Z",
    }
    answer = (await pair.far.call("GET", "/api/v1/events/not_counted?code=b")).body
    assert [one["code"] for one in answer["not_counted"]] == ["b"]
    answer = (await pair.far.call("GET", "/api/v1/events/not_counted?reason=no_charge")).body
    assert answer == {"not_counted": [], "since": None}
    pair.near.meter.uncounted_since_ms, pair.far.meter.uncounted_since_ms = 1000, 2000
    for asked in (pair.near, pair.far):
        answer = (await asked.call("GET", "/api/v1/events/not_counted")).body
        assert answer["since"] == "1970-01-01T00:00:02.000Z", "the worker that took over last"
