"""`/set_aside`: who may see and change what no fold looks at, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from tests.app.api.conftest import Running, start

PATH = "/api/v1/set_aside"
GIVEN = {"partition": 3, "from": 170, "to": 175, "reason": "a bomb"}


@pytest.fixture
async def local(session: ClientSession) -> Any:
    running = await start(session, open_page=True)
    yield running
    if running.server is not None:
        await running.server.stop()


async def test_records_are_set_aside_and_lifted(local: Running) -> None:
    made = (await local.must("POST", PATH, {"set_aside": GIVEN}))["set_aside"]
    listed = (await local.must("GET", PATH))["set_aside"]
    assert listed == made
    (one,) = listed
    told = {name: one[name] for name in ("partition", "from", "to", "index", "code", "message")}
    place = {"partition": 3, "from": 170, "to": 175}
    assert told == {**place, "index": None, "code": "set_aside", "message": "a bomb"}
    assert (await local.must("DELETE", f"{PATH}/{one['lago_id']}"))["set_aside"]["appended"] == 6
    assert (await local.must("GET", PATH))["set_aside"] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"partition": -1}, {"partition": ["value_is_invalid"]}),
        ({"from": "170"}, {"from": ["value_is_invalid"]}),
        ({"to": None}, {"to": ["value_is_invalid"]}),
        ({"reason": " "}, {"reason": ["value_is_mandatory"]}),
        ({"reason": "x" * 1001}, {"reason": ["value_is_too_long"]}),
    ],
)
async def test_what_is_no_place_is_refused(
    local: Running, changed: dict[str, Any], said: object
) -> None:
    answer = await local.call("POST", PATH, {"set_aside": {**GIVEN, **changed}})
    assert answer.status == 422
    assert answer.body["error_details"] == said


async def test_only_operators_may(api: Running) -> None:
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/some")):
        answer = await api.call(method, path, {"set_aside": GIVEN} if method == "POST" else None)
        assert answer.status == 403


async def test_what_is_not_there_is_not_lifted(local: Running) -> None:
    assert (await local.call("DELETE", f"{PATH}/some")).status == 404
