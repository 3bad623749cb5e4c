"""Many who send one id at once: one is taken, the others are told that theirs is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.queries import ingest
from app.runtime.partition.owned import OwnedPartition
from tables.event_index.entries import Entry
from tests.world.live.api import Api

pytestmark = pytest.mark.servers

AT_ONCE = 8


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with much to do may fold later than a client is let wait."""
    monkeypatch.setattr(ingest, "VERDICT_TIMEOUT_S", 30.0)


def event(transaction_id: str, **properties: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "external_subscription_id": "racing",
        "code": "calls",
        "timestamp": 1_700_000_000,
        "properties": properties,
    }


async def test_of_many_bodies_under_one_id_one_is_taken(api: Api) -> None:
    for race in range(3):
        sent = [{"event": event(f"race-{race}", n=n)} for n in range(AT_ONCE)]
        answers = await asyncio.gather(*(api.call("POST", "/events", body) for body in sent))
        assert sorted(status for status, _ in answers) == [200] + [422] * (AT_ONCE - 1)
        (taken,) = [answer["event"] for status, answer in answers if status == 200]
        refused = [answer["error_details"] for status, answer in answers if status == 422]
        assert refused == [{"transaction_id": ["value_already_exist"]}] * (AT_ONCE - 1)
        status, shown = await api.call("GET", f"/events/race-{race}")
        assert (status, shown["event"]["properties"]) == (200, taken["properties"])


async def test_of_many_batches_with_one_id_one_is_taken_whole(api: Api) -> None:
    sent = [{"events": [event("shared", n=n), event(f"own-{n}", n=n)]} for n in range(AT_ONCE)]
    answers = await asyncio.gather(*(api.call("POST", "/events/batch", body) for body in sent))
    taken = [
        each["transaction_id"]
        for status, answer in answers
        if status == 200
        for each in answer["events"]
    ]
    assert taken.count("shared") == 1
    # One whose first element lost has its other one taken, or nothing of it.
    assert all(status in (200, 422) for status, _ in answers)
    assert any(each.startswith("own-") for each in taken)


async def test_events_of_a_batch_are_looked_up_together(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once before they are appended, and once when they are folded: by themselves that is 160."""
    looked_up: list[int] = []
    entries_of = ingest._entries

    def counted(owned: OwnedPartition, *events: Any) -> dict[int, Entry | None]:
        looked_up.append(len(events[-1]))
        return entries_of(owned, *events)

    monkeypatch.setattr(ingest, "_entries", counted)
    events = [event(f"together-{n}", n=n) for n in range(80)]
    status, _ = await api.call("POST", "/events/batch", {"events": events})
    assert (status, looked_up) == (200, [80, 80])
    looked_up.clear()
    # Each that repeats another is told, of those of the batch and of those that came before.
    wrong = [event("new"), *events[:2], event("new", n=1), event("other")]
    status, answer = await api.call("POST", "/events/batch", {"events": wrong})
    assert (status, list(answer["error_details"])) == (422, ["1", "2", "3"])
    assert looked_up == [4]
    status, answer = await api.call("POST", "/events/batch?partial=true", {"events": wrong})
    assert [each["transaction_id"] for each in answer["events"]] == ["new", "other"]
    assert (status, list(answer["error_details"])) == (200, ["1", "2", "3"])
