"""The live page in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from app.meter.health import Reason
from app.meter.overview import ClosingView, DeadLetterView, RecordView
from tests.app.api.conftest import NOW_MS, Running, start
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION
from tests.app.page import chromium
from tests.world import bodies

PAGE_DIR = Path(__file__).parents[3] / "app" / "page"
needs_chromium = pytest.mark.skipif(
    chromium.binary() is None, reason="no chromium binary on PATH: the live page is not tested"
)


async def send_event(api: Running, subscription: str, code: str, key: str = "full") -> None:
    event = {
        "transaction_id": f"{subscription}-{code}",
        "external_subscription_id": subscription,
        "code": code,
    }
    answer = await api.call("POST", "/api/v1/events", {"event": event}, key=key)
    assert answer.status == 200


def letter(offset: int, value: str, organization_id: str = ORGANIZATION) -> DeadLetterView:
    return DeadLetterView(
        organization_id=organization_id,
        partition=0,
        offset=offset,
        code="invalid_timestamp",
        message="timestamp 'noon' is no time",
        failed_at_ms=NOW_MS,
        source="events-raw/0/17",
        value=value,
    )


async def filled(session: ClientSession, *, open_page: bool) -> Running:
    api = await start(session, open_page=open_page)
    await send_event(api, "sub_1", "storage")
    await send_event(api, "sub_2", "<img src=x onerror=alert(1)>")
    await send_event(api, "sub_9", "private", key="other")
    api.meter.closing.append(
        ClosingView(
            partition=0,
            cut_ms=NOW_MS,
            blocked_by="partition 3 has not reached the cut",
            since_ms=NOW_MS - 90_000,
        )
    )
    api.meter.records.append(
        RecordView(
            organization_id=ORGANIZATION,
            external_subscription_id="sub_1",
            type="usage.recorded",
            billable_metric_code="storage",
            revision=0,
            units="12.5",
            from_datetime="2024-02-01T00:00:00Z",
            closed_at="2024-03-01T00:00:00.000Z",
            id="r",
        )
    )
    api.meter.dead_letters.append(letter(5, "{}"))
    return api


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.fixture
async def open_api(session: ClientSession) -> AsyncIterator[Running]:
    api = await filled(session, open_page=True)
    yield api
    assert api.server is not None
    await api.server.stop()


@pytest.fixture
async def closed_api(session: ClientSession) -> AsyncIterator[Running]:
    api = await filled(session, open_page=False)
    yield api
    assert api.server is not None
    await api.server.stop()


@pytest.fixture(scope="module")
async def tab() -> AsyncIterator[chromium.Tab]:
    """One for all tests: every server has a port, so an origin, of its own."""
    async with ClientSession() as session, chromium.tab(session) as opened:
        yield opened


SHOWN = "document.querySelectorAll('#usage tbody tr').length"


@needs_chromium
async def test_everything_is_shown(open_api: Running, tab: chromium.Tab, tmp_path: Path) -> None:
    await tab.open(open_api.base_url + "/")
    await tab.wait_until(f"{SHOWN} === 3")
    usage = await tab.text("#usage")
    assert not await tab.run("document.getElementById('key-form').checkVisibility()")
    assert ORGANIZATION in usage
    assert OTHER_ORGANIZATION in usage
    assert "storage" in usage
    assert "partition 3 has not reached the cut" in await tab.text("#closing")
    assert "1 min" in await tab.text("#closing")
    assert "running" in await tab.text("#partitions")
    assert "12.5" in await tab.text("#records")
    assert "noon" in await tab.text("#letters")
    assert "lag 7" in await tab.text("#status")
    assert "closing waits on partition" in await tab.text("#status")
    for scheme in ("light", "dark"):
        await tab.color_scheme(scheme)
        await tab.screenshot(tmp_path / f"{scheme}.png")
        assert (tmp_path / f"{scheme}.png").stat().st_size > 10_000


@needs_chromium
async def test_whoever_sees_all_picks_an_organization(
    open_api: Running, closed_api: Running, tab: chromium.Tab
) -> None:
    metric = bodies.metric("m", "count_agg")
    for api in (open_api, closed_api):
        for key in ("full", "other"):
            body = {"billable_metric": metric}
            await api.call("POST", "/api/v1/billable_metrics", body, key=key)
    await tab.open(open_api.base_url + "/")
    await tab.wait_until("document.getElementById('organization').checkVisibility()")
    offered = await tab.run(
        "[...document.querySelectorAll('#organizations option')].map((one) => one.value).join()"
    )
    assert offered == ",".join(sorted((ORGANIZATION, OTHER_ORGANIZATION)))
    pick = "const input = document.getElementById('organization'); input.value = '{}';"
    change = "input.dispatchEvent(new Event('change'))"
    await tab.run(f"{{ {pick.format(OTHER_ORGANIZATION)} {change} }}")
    await tab.wait_until(f"{SHOWN} === 1")
    assert "sub_9" in await tab.text("#usage")
    await tab.run(f"{{ {pick.format('')} {change} }}")
    await tab.wait_until(f"{SHOWN} === 3")
    # A key of one organization has nothing to pick.
    await tab.open(closed_api.base_url + "/#key=full")
    await tab.wait_until(f"{SHOWN} === 2")
    assert not await tab.run("document.getElementById('organization').checkVisibility()")
    answer = await closed_api.call("GET", "/api/page/organizations", key="full")
    assert (answer.status, answer.body) == (200, {"organizations": []})
    assert (await closed_api.call("GET", "/api/page/organizations", key=None)).status == 401


@needs_chromium
async def test_brokers_that_are_away_are_said_first(open_api: Running, tab: chromium.Tab) -> None:
    await tab.open(open_api.base_url + "/")
    await tab.wait_until(f"{SHOWN} === 3")
    assert not await tab.run("document.getElementById('health-section').checkVisibility()")
    away = "Kafka has not answered for 49 s; newer events are not counted yet"
    open_api.meter.reasons = [
        Reason("set_aside", 0, "2 records or elements are set aside"),
        Reason("kafka_unreachable", 0, away),
    ]
    await tab.wait_until("document.getElementById('figures').classList.contains('old')")
    assert (await tab.text("#status")).startswith(f"{away} (figures of ")
    assert "2 records or elements are set aside" in await tab.text("#health")
    open_api.meter.reasons = []
    await tab.wait_until("!document.getElementById('figures').classList.contains('old')")


@needs_chromium
async def test_ids_are_text_never_markup(open_api: Running, tab: chromium.Tab) -> None:
    await tab.open(open_api.base_url + "/")
    await tab.wait_until(f"{SHOWN} === 3")
    assert await tab.run("document.images.length") == 0
    assert "<img src=x onerror=alert(1)>" in await tab.text("#usage")


@needs_chromium
async def test_search_and_refresh(open_api: Running, tab: chromium.Tab) -> None:
    await tab.open(open_api.base_url + "/")
    await tab.wait_until(f"{SHOWN} === 3")
    await tab.run(
        "document.getElementById('search').value = 'sub_1';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    await tab.wait_until(f"{SHOWN} === 1")
    await send_event(open_api, "sub_1", "later")
    await tab.wait_until(f"{SHOWN} === 2")


@needs_chromium
async def test_dead_letter_is_replayed(open_api: Running, tab: chromium.Tab) -> None:
    await tab.open(open_api.base_url + "/")
    await tab.wait_until("document.querySelector('#letters button')")
    await tab.run("document.querySelector('#letters button').click()")
    await tab.wait_until("document.querySelector('#letters button').textContent === 'Replayed'")
    assert open_api.meter.replayed == [(0, 5)]


@needs_chromium
async def test_a_key_is_asked_for_and_shows_its_organization(
    closed_api: Running, tab: chromium.Tab
) -> None:
    await tab.open(closed_api.base_url + "/")
    await tab.wait_until("!document.getElementById('key-form').hidden")
    await tab.run(
        "document.getElementById('key').value = 'other';"
        "document.getElementById('key-form').requestSubmit()"
    )
    await tab.wait_until(f"{SHOWN} === 1")
    assert "private" in await tab.text("#usage")
    assert ORGANIZATION not in await tab.text("body")


@needs_chromium
async def test_a_wrong_key_is_said_to_be_wrong(closed_api: Running, tab: chromium.Tab) -> None:
    await tab.open(f"{closed_api.base_url}/#key=nonsense")
    await tab.wait_until("document.getElementById('status').textContent.includes('not known')")
    assert await tab.run("document.getElementById('figures').hidden")
    assert "nonsense" not in str(await tab.run("location.href"))


@pytest.mark.parametrize("path", ["/", "/page/page.css", "/page/page.js", "/page/icon.svg"])
async def test_files_are_served(open_api: Running, path: str) -> None:
    answer = await open_api.call("GET", path, key=None)
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/page/__init__.py", "/page/..%2fapi%2fauth.py", "/page/none.js", "/page/%00.js"]
)
async def test_other_files_are_not(open_api: Running, path: str) -> None:
    answer = await open_api.call("GET", path, key=None)
    assert (answer.status, answer.body["code"]) == (404, "resource_not_found")


def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in PAGE_DIR.iterdir():
        if file.suffix in (".html", ".css", ".js"):
            addresses = re.findall(r"(?:https?:)?//[a-z][\w.]+", file.read_text())
            assert addresses == [], file


@pytest.mark.parametrize(
    ("key", "organizations"),
    [
        pytest.param(None, {ORGANIZATION, OTHER_ORGANIZATION}, id="open-shows-all"),
        pytest.param("full", {ORGANIZATION}, id="a-key-shows-its-own"),
    ],
)
async def test_overview_of_an_open_page(
    open_api: Running, key: str | None, organizations: set[str]
) -> None:
    answer = await open_api.call("GET", "/api/page/overview", key=key)
    assert {line["organization_id"] for line in answer.body["usage"]} == organizations


async def test_overview_needs_a_key_unless_open(closed_api: Running) -> None:
    assert (await closed_api.call("GET", "/api/page/overview", key=None)).status == 401


@pytest.mark.parametrize(
    ("key", "headers", "body", "status"),
    [
        pytest.param("full", {"Meter-Page": "1"}, {"partition": 0, "offset": 5}, 200, id="own"),
        pytest.param("full", {}, {"partition": 0, "offset": 5}, 403, id="from-another-site"),
        pytest.param(
            "reader", {"Meter-Page": "1"}, {"partition": 0, "offset": 5}, 403, id="read-only"
        ),
        pytest.param(
            "other", {"Meter-Page": "1"}, {"partition": 0, "offset": 5}, 404, id="not-theirs"
        ),
        pytest.param("full", {"Meter-Page": "1"}, {"partition": 0}, 400, id="no-offset"),
        pytest.param(
            "full", {"Meter-Page": "1"}, {"partition": -1, "offset": 0}, 400, id="negative"
        ),
        pytest.param(None, {"Meter-Page": "1"}, {"partition": 0, "offset": 5}, 401, id="no-key"),
    ],
)
async def test_replay(
    closed_api: Running, key: str | None, headers: dict[str, str], body: Any, status: int
) -> None:
    answer = await closed_api.call(
        "POST", "/api/page/dead_letters/replay", body, key=key, headers=headers
    )
    assert answer.status == status
    assert closed_api.meter.replayed == ([(0, 5)] if status == 200 else [])
