"""Who begins when: rotation, queues, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from app.api.http import admission as module
from app.api.http.admission import NOBODY, Admission
from app.api.http.errors import ApiError
from app.bounds.limits import (
    BEGUN_A_TURN,
    BODY_BYTES,
    WAITING_IN_ALL,
    WAITING_OF_ORGANIZATION,
    WAITING_WITHOUT_KEY,
)
from tests.world.waiting import until


class Requests:
    """Requests that run until they are told to end; notes in which order they began."""

    def __init__(self, admission: Admission) -> None:
        self.begun: list[str] = []
        self.refused: list[str] = []
        self.told: set[tuple[int, str | None]] = set()
        self._admission = admission
        self._end = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, organization: str, count: int, body_bytes: int = 0) -> None:
        """Let so many come at once."""
        self._tasks += [
            asyncio.create_task(self._one(organization, body_bytes)) for _ in range(count)
        ]

    async def _one(self, organization: str, body_bytes: int) -> None:
        try:
            async with self._admission.admitted(organization, body_bytes):
                self.begun.append(organization)
                await self._end.wait()
        except ApiError as error:
            self.refused.append(organization)
            self.told.add((error.status, error.headers.get("Retry-After")))

    async def end(self) -> None:
        self._end.set()
        await asyncio.gather(*self._tasks)


async def turns(count: int = 1) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def settled(requests: Requests) -> None:
    """Until nothing more begins or is refused."""
    before = -1
    while before != len(requests.begun) + len(requests.refused):
        before = len(requests.begun) + len(requests.refused)
        await turns(5)


@contextmanager
def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(module, "WAITING_S", seconds)
        yield


async def test_few_begin_at_a_turn() -> None:
    requests = Requests(Admission())
    requests.send("a", 3 * BEGUN_A_TURN)
    await turns()
    assert len(requests.begun) == BEGUN_A_TURN
    await turns(6)
    assert len(requests.begun) == 3 * BEGUN_A_TURN
    await requests.end()


async def test_organizations_take_turns() -> None:
    requests = Requests(Admission())
    requests.send("flood", BEGUN_A_TURN + WAITING_OF_ORGANIZATION)
    requests.send("b", 3)
    requests.send("c", 3)
    await settled(requests)
    after = requests.begun[BEGUN_A_TURN:]
    assert {after.index("b"), after.index("c")} < set(range(4))
    assert max(i for i, name in enumerate(after) if name in "bc") < 12, after
    assert len(after) == WAITING_OF_ORGANIZATION + 6
    await requests.end()


async def test_with_many_organizations_none_is_passed_over() -> None:
    requests = Requests(Admission())
    names = [f"o{number}" for number in range(20)]
    for name in names:
        requests.send(name, 10)
    await settled(requests)
    assert sorted(requests.begun[BEGUN_A_TURN : BEGUN_A_TURN + len(names)]) == sorted(names)
    await requests.end()


@pytest.mark.parametrize(
    ("organization", "most"), [("a", WAITING_OF_ORGANIZATION), (NOBODY, WAITING_WITHOUT_KEY)]
)
async def test_a_full_queue_refuses(organization: str, most: int) -> None:
    requests = Requests(Admission())
    requests.send(organization, BEGUN_A_TURN + most + 5)
    requests.send("other", 1)
    await settled(requests)
    assert requests.refused == [organization] * 5
    assert requests.told == {(429, "1")}
    assert requests.begun.count("other") == 1
    await requests.end()


async def test_all_queues_together_have_an_end() -> None:
    requests = Requests(Admission())
    organizations = 2 * WAITING_IN_ALL // WAITING_OF_ORGANIZATION
    for number in range(organizations):
        requests.send(f"o{number}", WAITING_OF_ORGANIZATION)
    requests.send("late", 1)
    requests.send(NOBODY, 1)
    await settled(requests)
    assert len(requests.refused) == 2 * WAITING_IN_ALL - WAITING_IN_ALL - BEGUN_A_TURN + 1
    assert "late" in requests.refused
    assert NOBODY in requests.begun
    await requests.end()


async def test_one_organization_cannot_have_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with patience(monkeypatch, 0.2):
        requests = Requests(Admission())
        requests.send("greedy", 30, BODY_BYTES)
        await settled(requests)
        most = len(requests.begun)
        assert 1 <= most < 30
        requests.send("other", 1, BODY_BYTES)
        await settled(requests)
        assert requests.begun[-1] == "other"
        await until(lambda: len(requests.refused) >= 30 - most)
        assert requests.refused == ["greedy"] * (30 - most), "they waited in vain"
        await requests.end()


async def test_memory_is_free_again_when_a_request_ends() -> None:
    admission = Admission()
    async with AsyncExitStack() as held:
        while admission._may_begin("a", module.Memory.of(BODY_BYTES)):
            await held.enter_async_context(admission.admitted("a", BODY_BYTES))
            await turns(2)
        waiting = Requests(admission)
        waiting.send("a", 2, BODY_BYTES)
        await turns(10)
        assert waiting.begun == []
    await settled(waiting)
    assert waiting.begun == ["a"] * 2
    await waiting.end()
    assert admission._taken == (0, 0)
    assert not admission._taken_by


async def test_who_goes_while_waiting_leaves_its_place() -> None:
    admission = Admission()
    requests = Requests(admission)
    requests.send("a", BEGUN_A_TURN)
    gone = asyncio.create_task(admission.admitted("a", 0).__aenter__())
    await turns()
    gone.cancel()
    await turns(5)
    assert gone.cancelled()
    await requests.end()
    assert admission._taken == (0, 0)
    assert not admission._queues
