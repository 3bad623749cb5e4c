"""Of two workers with one instance id the newer ends: Kafka takes each for the other's return."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError

from app.errors import StackError
from app.kafka import clients
from app.kafka.clients import PUT_OUT_BY_NEWER, Membership
from app.kafka.faust_app import make_app
from app.settings import Settings
from tests.app.kafka.workers import Durable, Owner

UNKNOWN = UnknownMemberIdError.errno
SESSION_S = 20.0
HEARTBEAT_S = 3.0


class Member(Membership):
    """Without a broker: it beats, and is told a code."""

    def __init__(self, instance_id: str | None = "w0") -> None:
        self._group_instance_id = instance_id
        self._session_timeout_ms = SESSION_S * 1_000
        self._heartbeat_interval_ms = HEARTBEAT_S * 1_000
        self._began_s = self.heard_s = 0.0


@pytest.fixture
def beat(monkeypatch: pytest.MonkeyPatch) -> object:
    async def answered(self: Member) -> bool:
        await self._send_req(None)
        return self._code == 0

    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", answered)

    async def beat(member: Member, at_s: float, code: int = 0) -> bool:
        async def told(self: Member, request: object) -> object:
            return type("Answer", (), {"error_code": code})

        monkeypatch.setattr(GroupCoordinator, "_send_req", told)
        monkeypatch.setattr(clients, "monotonic", lambda: at_s)
        alive = await member._do_heartbeat()
        if not alive:
            # It joins again.
            member.heard_s = at_s
        return member.is_doubled

    return beat


@pytest.mark.parametrize(
    ("began_s", "times"),
    [pytest.param(0, 2, id="the newer"), pytest.param(-600, PUT_OUT_BY_NEWER, id="the older")],
)
async def test_who_is_put_out_again_and_again_ends(beat, began_s: float, times: int) -> None:  # type: ignore[no-untyped-def]
    member = Member()
    member._began_s = began_s
    found = [await beat(member, 2.0 * number, UNKNOWN) for number in range(1, times + 1)]
    assert found == [*[False] * (times - 1), True]
    with pytest.raises(StackError, match="instance id w0 as well"):
        member.check_errors()


@pytest.mark.parametrize("apart_s", [2 * HEARTBEAT_S, 20, 40, 59, 61, 600])
async def test_who_was_there_first_goes_on(beat, apart_s: float) -> None:  # type: ignore[no-untyped-def]
    older, newer = Member(), Member()
    older._began_s, newer._began_s = -apart_s, 0.0
    at_s = 0.0
    while not newer.is_doubled:
        for member in (older, newer):
            # Each notices at its next heartbeat, and joins at once.
            at_s += HEARTBEAT_S
            await beat(member, at_s, UNKNOWN)
        assert not older.is_doubled


async def test_who_is_to_end_puts_nobody_out_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = []

    async def joins(self: Member, *arguments: object) -> str:
        joined.append(self)
        return "assignment"

    monkeypatch.setattr(GroupCoordinator, "ensure_active_group", joins)
    member = Member()
    assert await member.ensure_active_group("topics", None) == "assignment"
    member.is_doubled, member._closing = True, asyncio.get_running_loop().create_future()
    ending = asyncio.create_task(member.ensure_active_group("topics", None))
    await asyncio.sleep(0)
    assert not ending.done()
    member._closing.set_result(None)
    assert await ending is None
    assert joined == [member]


@pytest.mark.parametrize(
    ("code", "apart_s", "instance_id"),
    [
        pytest.param(UNKNOWN, SESSION_S, "w0", id="its session had ended"),
        pytest.param(UNKNOWN, 2, None, id="it has no instance id"),
        pytest.param(IllegalGenerationError.errno, 2, "w0", id="the group went on"),
        pytest.param(0, 2, "w0", id="alive"),
    ],
)
async def test_nobody_else_ends(  # type: ignore[no-untyped-def]
    beat, code: int, apart_s: float, instance_id: str | None
) -> None:
    member = Member(instance_id)
    assert not any([await beat(member, apart_s * number, code) for number in range(1, 9)])


async def test_what_happens_once_in_a_while_ends_nobody(beat) -> None:  # type: ignore[no-untyped-def]
    member = Member()
    for minute in range(1, 9):
        await beat(member, 60.0 * minute - 2)
        assert not await beat(member, 60.0 * minute, UNKNOWN)


def test_how_long_a_dead_worker_is_missed_can_be_set() -> None:
    settings = Settings(
        profile="test",
        kafka_bootstrap_servers=("localhost:9",),
        redis_url="redis://localhost:9",
        group_session_timeout_s=9,
    )
    app = make_app(settings, Owner("a", Durable(), settings))
    assert app.conf.broker_session_timeout == 9.0
