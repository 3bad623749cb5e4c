"""How deliveries wait: their order, their attempts and their bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from app.clock import SystemClock
from app.definitions import commands
from app.definitions.model import WebhookEndpoint
from app.webhooks import outboxes
from app.webhooks.message import Message
from app.webhooks.metrics import Metrics
from app.webhooks.outbox import DOUBTFUL_AT_ONCE, DOUBTFUL_WIDTH, WIDTH, Attempt, Delivery
from app.webhooks.outboxes import Outboxes
from app.webhooks.places import Progress
from app.webhooks.sender import wait_s
from tests.world.definitions_log import ORG, Log
from tests.world.waiting import PATIENCE_S, until

GOOD = Attempt(True, 0.0)
FAILED = Attempt(False, 0.0)


class Post:
    """Endpoints by id, and what becomes of what is put for them."""

    def __init__(self, *urls: str) -> None:
        """Define endpoints, ten for an organization."""
        log = Log()
        self.organizations = [f"{ORG}{number}" for number in range(0, len(urls), 10)]
        self.ids = [
            log.accept(
                commands.create_webhook_endpoint(
                    self.organizations[number // 10], {"webhook_url": url}
                )
            ).id
            for number, url in enumerate(urls)
        ]
        self.attempts: list[tuple[str, str]] = []
        """(endpoint, id of the message) as each was begun"""
        self.running = 0
        self.most = 0
        self.answer: Callable[[Delivery], Attempt] = lambda _: GOOD
        self.gate = asyncio.Event()
        self.gate.set()
        self.given_up: list[str] = []
        self.failed: list[BaseException] = []
        self.boxes = Outboxes(
            log.definitions,
            self._attempt,
            self._give_up,
            Metrics(CollectorRegistry(), SystemClock()),
            self.failed.append,
        )
        self.open = 0

    async def _attempt(self, delivery: Delivery) -> Attempt:
        self.attempts.append((delivery.endpoint_id, delivery.message.id))
        self.running += 1
        self.most = max(self.most, self.running)
        delivery.attempts += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        self.running -= 1
        return self.answer(delivery)

    def _give_up(self, _: WebhookEndpoint, delivery: Delivery, reason: str) -> None:
        self.given_up.append(delivery.message.id)

    async def put(self, identity: str, lane: str = "s", size: int = 2) -> None:
        for organization_id in self.organizations:
            message = Message(organization_id, "plan.created", identity, lane, b"x" * size)
            await self.boxes.put(message, self._begin, self._done)

    def _begin(self) -> None:
        self.open += 1

    def _done(self) -> None:
        self.open -= 1

    async def over(self) -> None:
        await until(lambda: not self.open)


async def test_a_lane_keeps_its_order_and_lanes_go_beside_each_other() -> None:
    post = Post("http://a")
    post.gate.clear()
    for number in range(3):
        for lane in "xy":
            await post.put(f"{lane}{number}", lane)
    await until(lambda: post.running == 2)
    post.gate.set()
    await post.over()
    order = [identity for _, identity in post.attempts]
    assert [each for each in order if each[0] == "x"] == ["x0", "x1", "x2"]
    assert [each for each in order if each[0] == "y"] == ["y0", "y1", "y2"]
    assert post.most == 2


async def test_what_fails_waits_apart_while_its_lane_goes_on() -> None:
    post = Post("http://a")
    post.answer = lambda delivery: (
        Attempt(False, 0.0, 0.05) if delivery.message.id == "0" and delivery.attempts == 1 else GOOD
    )
    await post.put("0")
    await post.put("1")
    await post.over()
    assert [identity for _, identity in post.attempts] == ["0", "1", "0"]


def _always(attempt: Attempt, _: Delivery) -> Attempt:
    return attempt


@pytest.mark.parametrize(
    ("first", "width"), [(GOOD, WIDTH), (FAILED, DOUBTFUL_WIDTH), (None, DOUBTFUL_WIDTH)]
)
async def test_requests_at_once_to_one_endpoint_are_bounded(
    first: Attempt | None, width: int
) -> None:
    post = Post("http://a")
    if first is not None:
        post.answer = partial(_always, first)
        await post.put("first", "first")
        await post.over()
    post.gate.clear()
    for number in range(3 * WIDTH):
        await post.put(str(number), lane=str(number))
    await until(lambda: post.running == width)
    await asyncio.sleep(0.05)
    assert post.running == width
    post.gate.set()
    await post.over()


async def test_endpoints_that_fail_leave_half_of_the_requests_to_others() -> None:
    """As many as there are of them, in every organization."""
    up, *down = (f"http://{number}" for number in range(DOUBTFUL_AT_ONCE + 1))
    post = Post(up, *down)
    post.answer = lambda delivery: GOOD if delivery.endpoint_id == post.ids[0] else FAILED
    await post.put("0", "x")
    await post.over()
    post.gate.clear()
    await post.put("1", "x")
    await post.put("2", "y")
    await until(lambda: post.running == DOUBTFUL_AT_ONCE + 2)
    told = [identity for endpoint, identity in post.attempts if endpoint == post.ids[0]]
    assert told == ["0", "1", "2"]
    post.gate.set()
    await post.over()


async def test_a_swift_endpoint_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MOST_OF_ONE", 2)
    post = Post("http://a")
    post.gate.clear()
    await post.put("0")
    await post.put("1")
    waiting = asyncio.create_task(post.put("2"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    post.gate.set()
    await waiting
    await post.over()
    assert post.given_up == []
    assert len(post.attempts) == 3


@pytest.mark.parametrize(
    ("bound", "most"), [("MOST_OF_ONE", 2), ("MOST_BYTES_OF_ONE", 2_100), ("MOST_BYTES", 4_200)]
)
async def test_a_failing_endpoint_keeps_little_and_holds_nobody(
    monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(outboxes, bound, most)
    post = Post("http://down", "http://up")
    down = post.ids[0]
    post.answer = lambda delivery: (
        Attempt(False, 0.0, 600) if delivery.endpoint_id == down else GOOD
    )

    def told() -> list[str]:
        return [identity for endpoint, identity in post.attempts if endpoint != down]

    async def put(number: int) -> None:
        await post.put(str(number))
        await until(lambda: len(told()) > number)

    for number in range(5):
        await asyncio.wait_for(put(number), PATIENCE_S)
    assert told() == ["0", "1", "2", "3", "4"]
    assert post.given_up == ["2", "3", "4"]
    assert post.open == 2
    post.boxes.stop()


async def test_a_defect_of_ours_is_told_to_who_runs_it() -> None:
    post = Post("http://a")

    def wrong(_: Delivery) -> Attempt:
        raise RuntimeError("wrong")

    post.answer = wrong
    await post.put("0")
    await until(lambda: bool(post.failed))
    assert post.open == 1


def test_the_waits_between_attempts() -> None:
    assert (wait_s(1, 0.0), wait_s(2, 0.0)) == (3.0, 18.0)
    assert (round(wait_s(1, 1.0), 2), round(wait_s(2, 1.0), 2)) == (3.15, 20.4)


def test_progress_goes_on_from_what_is_not_done() -> None:
    progress = Progress(5)
    assert progress.done_to == 5
    for place in (5, 7, 7, 8):
        progress.begin(place)
    progress.end(5)
    progress.end(7)
    progress.end(8)
    assert (progress.done_to, progress.position) == (7, 9)
    progress.end(7)
    assert progress.done_to == 9
