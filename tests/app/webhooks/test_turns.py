"""However much comes at once, a session leaves the event loop to others: its group, the senders."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from itertools import count
from typing import Any

import pytest

from app.billing_periods.day_count import DAY_MS
from app.bounds.turns import Turns
from app.definitions import commands
from app.definitions.log import applying
from app.settings import Settings
from app.webhooks import definitions, outboxes, process, session, telling
from app.webhooks.definitions import FollowedDefinitions
from app.webhooks.message import Message, body_of
from app.webhooks.outboxes import Outboxes
from app.webhooks.records import alert
from tests.app.webhooks.conftest import ORG, Topics, assigned
from tests.world.clock import AheadClock, ms
from tests.world.definitions_log import plan_body, subscription_body
from tests.world.live.receiver import Receiver
from tests.world.live.webhooks import running_webhooks
from tests.world.waiting import until

MANY = 200
MOST = 10
"""A turn lasts for so many looks at the clock."""
ENDS = "2090-01-01T00:00:00Z"


class Rounds:
    """How often something was done between two rounds of the event loop."""

    def __init__(self) -> None:
        self._round = 0
        self.done: Counter[int] = Counter()

    def noting(self, does: Callable[..., Any]) -> Callable[..., Any]:
        """Do it, and note when."""

        def noted(*given: Any) -> Any:
            self.done[self._round] += 1
            return does(*given)

        return noted

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self._round += 1


@pytest.fixture
async def rounds(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rounds]:
    looks = count()
    monkeypatch.setattr(session, "Turns", partial(Turns, clock=lambda: next(looks) / 1_000))
    found = Rounds()
    counting = asyncio.create_task(found.count())
    yield found
    counting.cancel()


async def subscribe(topics: Topics, names: Iterable[str]) -> None:
    await topics.define(commands.create_plan(ORG, plan_body()))
    for name in names:
        body = subscription_body(external_id=name, ending_at=ENDS)
        await topics.define(commands.create_subscription(ORG, body))


async def test_definitions_are_applied_in_turns(
    topics: Topics, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(topics, map(str, range(MANY)))
    monkeypatch.setattr(definitions, "applying", rounds.noting(applying))
    async with running_webhooks(topics.settings):
        await until(lambda: rounds.done.total() == MANY + 1)
    assert max(rounds.done.values()) <= MOST


async def test_instants_are_told_in_turns(
    topics: Topics, receiver: Receiver, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = AheadClock()
    monkeypatch.setattr(telling, "body_of", rounds.noting(body_of))
    await topics.endpoint(f"{receiver.url}/a", event_types=["subscription.terminated"])
    await subscribe(topics, map(str, range(MANY)))
    async with running_webhooks(topics.settings, clock):
        await assigned(topics.settings)
        clock.ahead_ms = 100 * 366 * DAY_MS
        await until(lambda: len(receiver.requests) == MANY)
    assert rounds.done.total() == MANY
    assert max(rounds.done.values()) <= MOST
    told = [one.told["subscription"]["external_id"] for one in receiver.requests]
    assert sorted(told, key=int) == list(map(str, range(MANY)))


async def test_what_a_record_brings_of_an_instant_before_the_one_that_is_told_is_the_records(
    topics: Topics, receiver: Receiver, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, places = AheadClock(), dict[str, int]()
    put = Outboxes.put

    async def noted(self: Outboxes, message: Message, begin: Any, done: Any) -> None:
        places[message.lane] = begin.args[0]
        await put(self, message, begin, done)

    monkeypatch.setattr(Outboxes, "put", noted)
    # So telling goes on for as long as the receiver needs.
    monkeypatch.setattr(outboxes, "MOST_OF_ONE", 1)
    await topics.endpoint(f"{receiver.url}/a", event_types=["subscription.terminated"])
    await subscribe(topics, map(str, range(MANY)))
    async with running_webhooks(topics.settings, clock):
        await assigned(topics.settings)
        clock.ahead_ms = 100 * 366 * DAY_MS
        await until(lambda: bool(places))
        body = subscription_body(external_id="before", ending_at="2080-01-01T00:00:00Z")
        await topics.define(commands.create_subscription(ORG, body))
        await until(lambda: len(receiver.requests) == MANY + 1)
    offset = MANY + 2
    assert places.pop("before") == offset
    assert set(places.values()) == {ms("2090-01-01")}


async def test_records_are_read_in_turns(
    topics: Topics, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
    value = b'{"webhook_type":"alert.triggered","organization_id":"acme"}'
    await asyncio.gather(*(topics.append("usage-alerts", value) for _ in range(MANY)))
    monkeypatch.setattr(process, "alert", rounds.noting(alert))
    async with running_webhooks(topics.settings):
        await until(lambda: rounds.done.total() == MANY)
    assert max(rounds.done.values()) <= MOST


async def followed(settings: Settings) -> FollowedDefinitions:
    """The definitions as they are, told of from the first on."""

    async def tell(_: int, made: Iterable[Message | None]) -> None:
        assert not any(made)

    found = FollowedDefinitions(settings, 0, time.time_ns() // 1_000_000, Turns(), tell)
    following = asyncio.create_task(found.follow())
    await found.caught_up()
    following.cancel()
    await asyncio.wait([following])
    await found.stop()
    return found


async def test_a_change_notes_only_what_did_not_come_before(topics: Topics) -> None:
    await subscribe(topics, "s")
    for name in "abcdef":
        await topics.define(commands.update_subscription(ORG, "s", {"name": name}))
    agenda = (await followed(topics.settings)).agenda
    # Its end, and two alerts.
    assert [each is not None for each in agenda.take(1 << 62)] == [True] * 3


async def test_what_comes_again_after_it_was_taken_back_is_told_once(topics: Topics) -> None:
    await subscribe(topics, "s")
    for ends in (None, ENDS):
        await topics.define(commands.update_subscription(ORG, "s", {"ending_at": ends}))
    agenda = (await followed(topics.settings)).agenda
    assert sum(each is not None for each in agenda.take(1 << 62)) == 3
