"""The page in a real Chromium, on a desk and on a phone: what a user does, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from app.meter.evidence import Uncounted, UncountedSample
from app.meter.health import Reason
from app.meter.overview import Overview, OverviewQuery
from tests.app.api.conftest import NOW_MS, Running
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION
from tests.app.page import chromium
from tests.app.page.site import LONG, REVISION, letter, send_event
from tests.world import bodies

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.binary() is None, reason="no chromium binary on PATH: the page is not tested in it"
    ),
]

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
FINDINGS = """axe.run(document, {resultTypes: ["violations"]}).then(({violations}) =>
    violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`))"""
BLOCKED = """window.blocked = [];
addEventListener("securitypolicyviolation", (event) => blocked.push(event.violatedDirective));"""
WIDTHS = ((1280, "light"), (390, "dark"))
SHOWN = "document.querySelectorAll('#usage tbody tr').length"


@pytest.fixture(scope="module")
async def tab() -> AsyncIterator[chromium.Tab]:
    """One for all tests: every server has a port, so an origin, of its own."""
    async with ClientSession() as session, chromium.tab(session) as opened:
        await opened.send("Page.enable")
        await opened.at_the_start_of_each_page(BLOCKED)
        yield opened


@pytest.fixture(autouse=True)
async def at_a_desk(tab: chromium.Tab) -> AsyncIterator[None]:
    await tab.size(1280)
    yield
    assert await tab.run("window.blocked") in (None, []), "the policy has blocked something"


async def view(tab: chromium.Tab, api: Running, address: str, ready: str = SHOWN) -> None:
    """Open a view and wait until it is shown."""
    await tab.open(api.base_url + address)
    await tab.wait_until(ready)


VIEWS = (
    pytest.param("/", SHOWN, id="overview"),
    pytest.param("/?search=zzz", "document.querySelector('#usage .empty')", id="no-match"),
    pytest.param(
        "/?search=" + "z" * 3_000, "document.querySelector('#usage .empty')", id="long-search"
    ),
    pytest.param(
        "/subscriptions/sub_1",
        "document.querySelector('#closed') && document.querySelector('.uplot')",
        id="subscription",
    ),
    pytest.param(
        "/subscriptions/sub_1?period=2024-02-01",
        "document.querySelector('#closed') && document.querySelector('.uplot')"
        " && document.querySelector('#records td a')",
        id="closed-period",
    ),
    pytest.param(
        "/subscriptions/sub_1/explain/storage", "document.querySelector('#events tr')", id="explain"
    ),
    pytest.param(
        "/events/sub_1-storage?subscription=sub_1",
        "document.querySelector('#properties tr')",
        id="event",
    ),
    pytest.param("/not-counted", "document.querySelector('#uncounted tr')", id="not-counted"),
    pytest.param("/dead-letters", "document.querySelector('#letters tr')", id="dead-letters"),
    pytest.param(
        "/dead-letters?before=newest",
        "document.querySelector('#letters tr')",
        id="dead-letters-of-the-topic",
    ),
    pytest.param("/dead-letters/0/5", "document.querySelector('#hex')", id="dead-letter"),
    pytest.param("/definitions", "document.querySelector('#metrics tr')", id="definitions"),
    pytest.param(
        "/definitions/metrics/storage", "document.querySelector('#metric form')", id="metric"
    ),
    pytest.param(
        "/definitions/plans/pro/edit", "document.querySelector('#plan form')", id="plan-form"
    ),
    pytest.param("/definitions/plans/pro", "document.querySelector('#charges tr')", id="plan"),
)


@pytest.mark.parametrize(("address", "ready"), VIEWS)
async def test_every_view_is_whole_for_everybody(
    open_api: Running, tab: chromium.Tab, address: str, ready: str
) -> None:
    sample = UncountedSample("t-1", "sub_1", NOW_MS)
    uncounted = Uncounted("unknown_code", "stroage", 15, NOW_MS, NOW_MS, [sample])
    open_api.meter.uncounted.append(uncounted)
    open_api.meter.letter_bytes[5] = bytes(range(256))
    open_api.meter.published.values.append(msgspec.json.encode(REVISION))
    await tab.size(1280)
    await view(tab, open_api, address, ready)
    await tab.run(AXE)
    for width, scheme in WIDTHS:
        await tab.size(width)
        await tab.color_scheme(scheme)
        assert await tab.run(FINDINGS) == []
        wide = await tab.run("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "nobody scrolls sideways"
    assert await tab.run(SMALL_TARGETS) == []


SMALL_TARGETS = """[...document.querySelectorAll("main a, button, header nav a")]
    .filter((one) => one.checkVisibility() && !one.closest("p, dd, li:not(.pills li)"))
    .filter((one) => one.getBoundingClientRect().height < 43.5)
    .map((one) => one.outerHTML)"""


async def test_a_reload_shows_the_same(open_api: Running, tab: chromium.Tab) -> None:
    await view(tab, open_api, "/?search=sub_1&sort=-units")
    before = await tab.text("#usage")
    await tab.send("Page.reload")
    await tab.wait_until(f"{SHOWN} && document.readyState === 'complete'")
    assert await tab.text("#usage") == before
    assert await tab.run("document.getElementById('search').value") == "sub_1"


async def test_a_user_goes_from_a_figure_to_the_event_that_made_it(
    open_api: Running, tab: chromium.Tab
) -> None:
    await view(tab, open_api, "/")
    await tab.click("#usage td a")
    await tab.wait_until("location.pathname === '/subscriptions/sub_1'")
    await tab.click("#usage td a")
    await tab.wait_until("location.pathname === '/subscriptions/sub_1/explain/storage'")
    await tab.wait_until("document.querySelector('#events td a')")
    await tab.click("#events td a")
    await tab.wait_until("document.querySelector('#properties tr')")
    assert LONG in await tab.text("#properties")


async def test_focus_selection_and_scroll_stay_while_figures_change(
    open_api: Running, tab: chromium.Tab
) -> None:
    await tab.size(1280, 300)
    await view(tab, open_api, "/subscriptions/sub_1", "document.querySelector('.uplot')")
    await tab.run(
        """{
        window.link = document.querySelector('#usage td a');
        link.focus();
        const customer = document.querySelector('.facts dd').firstChild;
        getSelection().setBaseAndExtent(customer, 0, customer, 3);
        scrollTo(0, 120);
        document.querySelector('#series details').open = true;
        }"""
    )
    for number in range(10):
        more = {"gb": "1", "region": "eu"}
        name = f"more-{number}"
        await send_event(open_api, "sub_1", "storage", transaction_id=name, properties=more)
        await tab.run("show()")
        await tab.wait_until(f"document.querySelector('#usage').innerText.includes('{number + 2}')")
    assert "12,355.6789012" in await tab.text("#usage")
    kept = await tab.run(
        """[document.activeElement === link, getSelection().toString(), Math.round(scrollY),
            document.querySelector('#series details').open]"""
    )
    assert kept == [True, "acm", 120, True]


async def test_a_worker_that_is_silent_makes_figures_grey_and_old(
    open_api: Running, tab: chromium.Tab
) -> None:
    await view(tab, open_api, "/")
    assert open_api.server is not None
    await open_api.server.stop()
    await tab.run("{ goodAt -= 10000; show(); }")
    await tab.wait_until("document.body.classList.contains('silent')")
    await tab.run(AXE)
    assert await tab.run(FINDINGS) == []
    assert "The worker does not answer. Figures of" in await tab.text("#age")
    assert "s ago" in await tab.text("#age")
    # The clock is not spoken.
    assert await tab.run("document.getElementById('status').textContent") == (
        "The worker does not answer."
    )


async def test_a_view_that_takes_longer_than_a_tick_is_shown(
    open_api: Running, tab: chromium.Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = open_api.meter.overview

    async def slowly(query: OverviewQuery) -> Overview:
        await asyncio.sleep(2.5)
        return await looked(query)

    monkeypatch.setattr(open_api.meter, "overview", slowly)
    await view(tab, open_api, "/")


async def test_brokers_that_are_away_are_said_first(open_api: Running, tab: chromium.Tab) -> None:
    await view(tab, open_api, "/")
    away = "Kafka has not answered for 49 s; newer events are not counted yet"
    open_api.meter.reasons = [
        Reason("set_aside", 0, "2 records or elements are set aside"),
        Reason("kafka_unreachable", 0, away),
    ]
    await tab.wait_until("document.querySelector('#usage-part.old')")
    assert (await tab.text("#health-line")).startswith(f"{away}. Figures of ")
    assert "2 records or elements are set aside" in await tab.text("#health")
    assert await tab.run("document.getElementById('status').textContent") == await tab.text(
        "#health-line"
    )
    open_api.meter.reasons = []
    await tab.wait_until("!document.querySelector('#usage-part.old')")


async def test_ids_are_text_never_markup(open_api: Running, tab: chromium.Tab) -> None:
    await view(tab, open_api, "/")
    assert await tab.run("document.images.length") == 0
    assert "<img src=x onerror=alert(1)>" in await tab.text("#usage")


async def test_keys_search_help_and_leave(open_api: Running, tab: chromium.Tab) -> None:
    await view(tab, open_api, "/")
    await tab.press("Tab")
    assert await tab.run("document.activeElement.className") == "skip"
    await tab.press("/")
    for letter_ in "zzz":
        await tab.press(letter_)
    await tab.wait_until("document.querySelector('#usage .empty')")
    assert "Nothing matches 'zzz'. Show all" in await tab.text("#usage")
    assert await tab.run("location.search") == "?search=zzz"
    await tab.press("Escape")
    await tab.press("?")
    await tab.wait_until("document.getElementById('keys').open")
    await tab.press("Escape")
    await tab.wait_until("!document.getElementById('keys').open")
    await tab.click("#usage .empty a")
    await tab.wait_until(f"{SHOWN} === 3")


async def test_a_click_sorts_and_the_header_says_it(open_api: Running, tab: chromium.Tab) -> None:
    await view(tab, open_api, "/")
    for order in ("ascending", "descending"):
        await tab.click("#usage th a")
        await tab.wait_until(f"document.querySelector('#usage th[aria-sort={order}]')")
    assert await tab.run("document.querySelector('#usage td a').textContent") == "sub_9"
    assert "sort=-subscription" in await tab.run("location.search")


async def test_dark_and_light_are_chosen_by_hand(open_api: Running, tab: chromium.Tab) -> None:
    await tab.color_scheme("light")
    await view(tab, open_api, "/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await tab.run(ground)
    await tab.click("#scheme")
    assert await tab.run(ground) != light
    await tab.send("Page.reload")
    await tab.wait_until(f"{SHOWN} && document.documentElement.dataset.scheme === 'dark'")


async def test_a_key_is_asked_for_shows_its_organization_and_is_forgotten(
    closed_api: Running, tab: chromium.Tab
) -> None:
    await view(tab, closed_api, "/", "!document.getElementById('key-form').hidden")
    enter = """document.getElementById('key').value = '{}';
        document.getElementById('key-form').requestSubmit()"""
    await tab.run(enter.format("nonsense"))
    await tab.wait_until("document.getElementById('key-wrong').textContent.includes('not known')")
    await tab.run(AXE)
    assert await tab.run(FINDINGS) == []
    assert await tab.run("document.getElementById('view').hidden")
    await tab.run(enter.format("other"))
    await tab.wait_until(f"{SHOWN} === 1")
    assert "private" in await tab.text("#usage")
    markup = await tab.run("document.documentElement.outerHTML")
    for name in (ORGANIZATION, OTHER_ORGANIZATION, "sub_1", "acme"):
        assert name not in markup
    await tab.click("#sign-out")
    await tab.wait_until(
        "!document.getElementById('key-form').hidden && !sessionStorage.getItem('key')"
    )


async def test_a_key_in_the_address_is_taken_out_of_it(
    closed_api: Running, tab: chromium.Tab
) -> None:
    await view(tab, closed_api, "/#key=full", f"{SHOWN} === 2")
    assert "full" not in str(await tab.run("location.href"))


async def test_whoever_sees_all_picks_an_organization(open_api: Running, tab: chromium.Tab) -> None:
    body: dict[str, Any] = {"billable_metric": bodies.metric("m", "count_agg")}
    await open_api.call("POST", "/api/v1/billable_metrics", body, key="other")
    await view(tab, open_api, "/", f"{SHOWN} === 3")
    assert OTHER_ORGANIZATION in await tab.text("#usage")
    await tab.wait_until("document.getElementById('organization').checkVisibility()")
    await tab.run(
        f"""{{ const picker = document.getElementById('organization');
        picker.value = '{OTHER_ORGANIZATION}'; picker.dispatchEvent(new Event('change')) }}"""
    )
    await tab.wait_until(f"{SHOWN} === 1")
    assert "sub_9" in await tab.text("#usage")


async def test_letters_are_replayed_in_bulk_after_a_question(
    open_api: Running, tab: chromium.Tab
) -> None:
    event = '{"transaction_id": "t-%s", "external_subscription_id": "sub_1", "code": "storage"}'
    open_api.meter.letters += [letter(6, event % 6), letter(7, event % 7)]
    await view(tab, open_api, "/dead-letters", "document.querySelectorAll('#letters tbody tr')[2]")
    for place in ("0/5", "0/6"):
        await tab.run(f"document.querySelector('#letters [value=\"{place}\"]').click()")
    # What is marked stays marked.
    await tab.run("tick()")
    await tab.click("#marking > button")
    await tab.wait_until("document.getElementById('question').open")
    assert "that are marked" in await tab.text("#question")
    await tab.press("Escape")
    await tab.wait_until("!document.getElementById('question').open")
    assert open_api.meter.replayed == []
    await tab.click("#marking > button")
    await tab.wait_until("document.getElementById('question').open")
    await tab.click("#question button")
    await tab.wait_until("document.querySelector('#sum')")
    assert await tab.text("#sum") == "2 events replayed: 1 counted, 1 refused again."
    assert "as 0/101 because timestamp 'noon' is no time" in await tab.text("#replayed")
    assert open_api.meter.replayed == [(0, 6), (0, 5)]


async def test_all_of_a_code_are_replayed(open_api: Running, tab: chromium.Tab) -> None:
    """More than a page of them; what stops on its way goes on from its address."""
    event = '{"transaction_id": "t-%s", "external_subscription_id": "sub_1", "code": "storage"}'
    open_api.meter.letters[:] = [
        letter(offset, event % offset if offset % 30 else "{}") for offset in range(120)
    ]
    await view(tab, open_api, "/dead-letters", "document.querySelector('#codes button')")
    await tab.click("#codes button")
    await tab.wait_until("document.querySelector('#outcomes form')")
    assert "Replay 120 events refused as invalid_timestamp?" in await tab.text("#sum")
    await tab.click("#outcomes button")
    await tab.wait_until("document.querySelector('#sum').innerText.startsWith('120 events')")
    assert await tab.text("#sum") == "120 events replayed: 116 counted, 4 refused again."
    assert len(open_api.meter.replayed) == 120
    assert await tab.run("document.querySelectorAll('#outcomes details').length") == 3
    await tab.run(AXE)
    assert await tab.run(FINDINGS) == []
    stopped = "/dead-letters?code=invalid_timestamp&from=0:20"
    await view(tab, open_api, stopped, "document.querySelector('#outcomes form')")
    assert "has stopped on its way" in await tab.text("#sum")
    await tab.click("#outcomes button")
    await tab.wait_until("document.querySelector('#sum').innerText.startsWith('20 events')")
    assert await tab.run("location.search") == "?code=invalid_timestamp"


async def test_an_event_is_cancelled_after_a_question(open_api: Running, tab: chromium.Tab) -> None:
    address = "/events/sub_1-storage?subscription=sub_1"
    await view(tab, open_api, address, "document.querySelector('#properties tr')")
    await tab.run("document.querySelector('section > form button').focus()")
    for press, sent in (("Escape", 0), ("Enter", 1)):
        await tab.press("Enter")
        await tab.wait_until("document.getElementById('question').open")
        assert "Cancel sub_1-storage?" in await tab.text("#question")
        await tab.press(press)
        await tab.wait_until("!document.getElementById('question').open")
        if sent:
            await tab.wait_until("document.querySelector('#corrected a')")
        assert len(open_api.meter.corrections) == sent
    assert "The event is cancelled." in await tab.text("#corrected")
    await tab.run("document.getElementById('amend').open = true")
    await tab.run(AXE)
    assert await tab.run(FINDINGS) == []
    await tab.click("#corrected a")
    await tab.wait_until("document.querySelector('.facts').innerText.includes('cancelled')")


async def test_a_metric_is_made_tried_previewed_and_saved_by_keyboard(
    open_api: Running, tab: chromium.Tab
) -> None:
    shown = "document.querySelector('#metric form')"
    await send_event(open_api, "sub_1", "traffic", properties={"gb": "3"})
    await view(tab, open_api, "/definitions/new-metric?code=traffic", shown)
    await fill(tab, "expression", "event.properties.gb *")
    await tab.wait_until("document.getElementById('tried').innerText.includes('is wrong')")
    await fill(tab, "expression", " 2")
    await tab.wait_until("document.getElementById('tried').innerText.includes('no value')")
    await tab.run("document.getElementById('example').value = ''")
    await fill(tab, "example", '{"properties": {"gb": 21}}')
    await tab.wait_until("document.getElementById('tried').innerText === 'The value is 42.0.'")
    await tab.click("#examples button")
    await tab.wait_until("document.querySelectorAll('#chosen option').length === 2")
    await tab.run(
        """{ const chosen = document.getElementById('chosen');
        chosen.value = chosen.options[1].value; chosen.dispatchEvent(new Event('change')) }"""
    )
    await tab.wait_until("document.getElementById('tried').innerText === 'The value is 6.0.'")
    await tab.click("#type-sum_agg")
    await tab.run("[...document.querySelectorAll('#filters button')].pop().click()")
    await tab.wait_until("document.getElementById('filter-1')")
    await fill(tab, "filter-1", "region")
    await tab.run("document.querySelector('#metric button[type=submit]').focus()")
    await tab.press("Enter")
    await tab.wait_until("document.getElementById('field_name-error')")
    assert await tab.run("document.getElementById('expression').value") == "event.properties.gb * 2"
    await fill(tab, "field_name", "gb")
    await fill(tab, "filter-values-1", "eu")
    await tab.run("document.querySelector('#metric button[type=submit]').focus()")
    await tab.press("Enter")
    await tab.wait_until("document.querySelector('#save button')")
    await tab.run(AXE)
    assert await tab.run(FINDINGS) == []
    await tab.run("document.querySelector('#save button').focus()")
    await tab.press("Enter")
    await tab.wait_until("document.querySelector('#saved a')")
    made = await open_api.must("GET", "/api/v1/billable_metrics/traffic")
    assert made["billable_metric"]["expression"] == "event.properties.gb * 2"
    assert made["billable_metric"]["filters"] == [{"key": "region", "values": ["eu"]}]


async def fill(tab: chromium.Tab, name: str, text: str) -> None:
    """Type into a field."""
    await tab.run(f"document.getElementById('{name}').focus()")
    await tab.send("Input.insertText", text=text)
