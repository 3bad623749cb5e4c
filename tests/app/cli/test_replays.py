"""Bulk replay of dead letters on real servers: each outcome that there is, in one replay."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from app.main import Worker
from app.runtime.dead_letters import Source, dead_letter
from app.wire.refusals import Refusal, RefusalCode
from tests.app.cli.conftest import Meter
from tests.world.live.api import Api
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.servers

EACH = 20
EXPECTED = {
    "good": "counted",
    "odd": "not counted",
    "known": "duplicate",
    "far": "refused again",
    "none": "refused again",
}
"""What becomes of a letter, by the first part of its event's id."""
FAR_S = 9_000 * 86_400


def event(transaction_id: str, **changes: Any) -> bytes:
    """A raw event of the subscription that there is."""
    fields = {"external_subscription_id": "sub/1", "code": "storage", "properties": {"gb": 1}}
    return json.dumps({**fields, "transaction_id": transaction_id, **changes}).encode()


async def refused_before(worker: Worker, value: bytes) -> None:
    """Put into the topic what a worker wrote of an event that it would count now."""
    settings, engine = worker.settings, worker.engine
    home = engine.homes.of(settings.api_keys[0].organization_id, "sub/1")
    refusal = Refusal(RefusalCode.TOO_LATE, "the period was final", value)
    source = Source(settings.topic(settings.raw_topic), home, 0, b"k")
    letter = dead_letter(settings.dead_letter_topic, home, refusal, source, 0, first=True)
    topic = settings.topic(settings.dead_letter_topic)
    await engine.append(topic, letter.key, letter.value, home, letter.headers)


async def test_all_letters_are_replayed_with_mixed_outcomes(
    api: Api, worker: Worker, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.kafka.asked.READ_WITHIN_S", PATIENCE_S)
    settings = worker.settings
    raw = settings.topic(settings.raw_topic)
    for number in range(EACH):
        await worker.engine.append(raw, b"k", b"{ no JSON", number % settings.raw_partitions)
        far = event(f"far-{number}", timestamp=int(time.time()) + FAR_S)
        await worker.engine.append(raw, b"k", far, 0)

    async def letters() -> int:
        listed = await meter("dead-letters", "list", "--json")
        return len(json.loads(listed.stdout))

    await eventually(letters, 2 * EACH)
    await api.post("/events", {"event": json.loads(event("known"))})
    for number in range(EACH):
        await refused_before(worker, event(f"good-{number}"))
        await refused_before(worker, event(f"odd-{number}", code="nothing"))
        await refused_before(worker, event("known"))

    answer = await meter("dead-letters", "replay", "--all", "--json")
    assert answer.exit_code == 1, answer.output
    found = json.loads(answer.stdout)
    assert found["sum"].get("sent", 0) < EACH, found["sum"]
    outcomes = Counter[str]()
    for one in found["outcomes"]:
        # A busy machine may take longer than is waited for.
        expected = EXPECTED[(one["transaction_id"] or "none").partition("-")[0]]
        assert one["outcome"] in (expected, "sent"), one
        outcomes[expected] += 1
    assert outcomes == {kind: EACH * n for kind, n in Counter(EXPECTED.values()).items()}

    async def counted() -> str:
        usage = json.loads((await meter("usage", "sub/1", "--json")).stdout)["customer_usage"]
        return str(usage["charges_usage"][0]["units"])

    # Two events of the fixture, one that was known, and each good one once.
    await eventually(counted, f"{3 + 1 + EACH}.00000000000000000002")
    await eventually(letters, 7 * EACH)
    # What was refused again is there twice, and is replayed once.
    again = json.loads((await meter("dead-letters", "replay", "--all", "--json")).stdout)
    assert sum(again["sum"].values()) == 5 * EACH
    await eventually(letters, 9 * EACH)
