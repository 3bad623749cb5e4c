"""Workers that share a port: one answers for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from app.api.http.siblings import Siblings, merged
from app.bounds.turns import STEP_ITEMS, Turns, drained

HEAD = b"# HELP a_total Of a.\n# TYPE a_total counter\n"
OWN = HEAD + b"a_total 1.0\n"
OTHER = (
    "# HELP a_total Of a.\n# TYPE a_total counter\na_total 2.0\n"
    '# HELP b Of b.\n# TYPE b gauge\nb{partition="0",text="} x"} 3.0\n'
)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where another worker answers; it is not ready if brokers are required."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=OTHER)

    async def ready(request: web.Request) -> web.Response:
        reason = {"code": "open_transaction", "since": "then", "message": "It waits"}
        status = 503 if "require" in request.query else 200
        return web.json_response({"status": "degraded", "reasons": [reason]}, status=status)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/health/ready", ready)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def own() -> bytes:
    return OWN


async def test_metrics_are_of_all_workers_and_tell_which_does_not_answer(
    tmp_path: Path, url: str
) -> None:
    for number, told in ((2, url), (3, "http://127.0.0.1:1")):
        Siblings(tmp_path, number, 4).tell(told)
    async with ClientSession() as session:
        text = (await Siblings(tmp_path, 1, 4).metrics(session, Turns(), own)).decode()
    assert text.splitlines() == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        'a_total{worker="1"} 1.0',
        'a_total{worker="2"} 2.0',
        "# HELP b Of b.",
        "# TYPE b gauge",
        'b{worker="2",partition="0",text="} x"} 3.0',
        "# HELP meter_worker_up Whether a worker of the same parent answers.",
        "# TYPE meter_worker_up gauge",
        'meter_worker_up{worker="1"} 1',
        'meter_worker_up{worker="2"} 1',
        'meter_worker_up{worker="3"} 0',
        'meter_worker_up{worker="4"} 0',
    ]


async def test_who_is_not_ready_is_named(tmp_path: Path, url: str) -> None:
    Siblings(tmp_path, 2, 2).tell(url)
    own = Siblings(tmp_path, 1, 2)
    async with ClientSession() as session:
        wrong = {"code": "open_transaction", "since": "then", "message": "It waits", "worker": 2}
        assert await own.health(session, "") == ([], [wrong])
        assert await own.health(session, "require=kafka") == ([2], [wrong])
        Siblings(tmp_path, 2, 2).tell("http://127.0.0.1:1")
        assert await own.health(session, "") == ([2], [])


def test_metrics_of_one_worker_have_its_number() -> None:
    text = b"".join(drained(merged({7: OWN})))
    assert text.splitlines()[2] == b'a_total{worker="7"} 1.0'


def test_metrics_of_many_workers_are_merged_some_lines_at_a_step() -> None:
    lines = 3 * STEP_ITEMS
    text = HEAD + b"".join(b'a_total{of="%d"} 1.0\n' % each for each in range(lines))
    texts = {1: text, 2: text}
    assert sum(1 for _ in merged(texts)) >= 2 * lines / STEP_ITEMS
    of_each = [
        b'a_total{worker="%d",of="%d"} 1.0' % (worker, each)
        for worker in (1, 2)
        for each in range(lines)
    ]
    assert b"".join(drained(merged(texts))).splitlines() == [*HEAD.splitlines(), *of_each]


def test_a_value_of_a_label_stays_on_its_line() -> None:
    text = HEAD + 'a_total{of="x\u2028{y} z"} 1.0\n'.encode()
    assert b"".join(drained(merged({1: text}))) == HEAD + (
        'a_total{worker="1",of="x\u2028{y} z"} 1.0\n'.encode()
    )
