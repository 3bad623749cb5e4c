"""The page without a browser: its files, who sees what, and its fragments as text."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from datetime import date
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.api.pages.page_views import PTAG
from app.billing_periods.instants import iso_milliseconds
from app.meter.evidence import Uncounted, UncountedSample
from tests.app.api.conftest import NOW_MS, Running
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION
from tests.app.page.site import LONG, REVISION, letter, send_event

STATIC = Path(__file__).parents[3] / "app" / "page" / "static"
VENDOR = STATIC / "vendor"
PAGES = {"Meter-Page": "1"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/subscriptions/a%2Fb",
        "/subscriptions/a/explain/c",
        "/events/t",
        "/page/page.css",
        "/page/page.js",
        "/page/icon.svg",
        "/page/vendor/htmx.min.js",
    ],
)
async def test_files_are_served(open_api: Running, path: str) -> None:
    answer = await open_api.call("GET", path, key=None)
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/page/__init__.py",
        "/page/html.py",
        "/page/..%2fhtml.js",
        "/page/..%2fapi%2fauth.py",
        "/page/vendor/..%2fpage.js",
        "/page/none.js",
        "/page/%00.js",
    ],
)
async def test_other_files_are_not(open_api: Running, path: str) -> None:
    answer = await open_api.call("GET", path, key=None)
    assert (answer.status, answer.body["code"]) == (404, "resource_not_found")


def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        if file.suffix in (".html", ".css", ".js"):
            addresses = re.findall(r"(?:https?:)?//[a-z][\w.]+", file.read_text())
            assert addresses == [], file


def test_the_script_is_short_and_wants_no_eval() -> None:
    texts = [file.read_text() for file in STATIC.glob("*.*")]
    assert len((STATIC / "page.js").read_text().splitlines()) <= 200
    made = [file.read_text() for file in STATIC.parent.glob("*.py")]
    assert not re.findall(r"hx[-_]on|js:|eval\(|style=", "".join(texts + made))


def test_files_of_others_are_as_they_were_taken() -> None:
    files = tomllib.loads((VENDOR / "vendor.toml").read_text())["files"]
    assert {file["name"] for file in files} == {
        path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")
    }
    for file in files:
        assert sha256((VENDOR / file["name"]).read_bytes()).hexdigest() == file["sha256"]
        assert (VENDOR / file["licence_file"]).is_file()
        assert {"version", "source", "licence", "package"} <= set(file)


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
        pytest.param("full", PAGES, {"places": ["0/5"]}, 200, id="own"),
        pytest.param("full", {}, {"places": ["0/5"]}, 403, id="from-another-site"),
        pytest.param("reader", PAGES, {"places": ["0/5"]}, 403, id="read-only"),
        pytest.param("full", PAGES, {"places": ["0"]}, 422, id="no-offset"),
        pytest.param("full", PAGES, {"places": ["-1/0"]}, 422, id="negative"),
        pytest.param("full", PAGES, {"places": ["0/5"], "all": True}, 422, id="both"),
        pytest.param("full", PAGES, {"code": "x", "before": "x"}, 422, id="from-nowhere"),
        pytest.param(None, PAGES, {"places": ["0/5"]}, 401, id="no-key"),
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


async def test_all_of_a_code_are_replayed_and_a_replay_goes_on(closed_api: Running) -> None:
    """More than a page of mixed outcomes; what is refused again is not replayed again."""
    event = '{"transaction_id": "t-%s", "external_subscription_id": "sub_1", "code": "storage"}'
    closed_api.meter.letters[:] = [
        letter(offset, event % offset if offset % 3 else "{}") for offset in range(60)
    ]
    closed_api.meter.letters.append(letter(60, event % "theirs", OTHER_ORGANIZATION))
    closed_api.meter.letters.append(
        msgspec.structs.replace(letter(61, event % "other"), code="too_late")
    )

    async def lines(**body: Any) -> list[dict[str, Any]]:
        answer = await closed_api.call("POST", "/api/v1/dead_letters/replay", body, key="full")
        assert answer.status == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    told = await lines(code="invalid_timestamp")
    outcomes = [line["outcome"] for line in told if "outcome" in line]
    assert Counter(outcomes) == {"counted": 40, "refused again": 20}
    assert closed_api.meter.replayed == [(0, offset) for offset in reversed(range(60))]
    first, *_, last = (line for line in told if "replayed" in line)
    assert (first["replayed"], first["before"], first["done"]) == (50, "0:10", False)
    assert last == {
        "replayed": 60,
        "sum": {"counted": 40, "refused again": 20},
        "before": None,
        "done": True,
    }
    closed_api.meter.replayed.clear()
    again = await lines(code="invalid_timestamp", before=first["before"])
    assert again[-1]["sum"] == {"counted": 6, "refused again": 4}
    assert len(closed_api.meter.replayed) == 10


# Fragments


async def fragment(api: Running, address: str, key: str | None = None) -> str:
    answer = await api.call("GET", f"/page/view{address}", key=key)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.text


async def test_the_overview_says_what_waits_and_shows_usage(open_api: Running) -> None:
    text = await fragment(open_api, "")
    waits = "7 events not counted yet; 1 partition with a cut that waits"
    assert f"{waits}; 1 event refused in the last hour." in text
    assert "partition 3 has not reached the cut" in text
    assert "1 event was refused in the last hour" in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in text


async def test_a_fragment_that_is_shown_already_is_not_sent_again(closed_api: Running) -> None:
    first = await closed_api.call("GET", "/page/view", key="full")
    again = await closed_api.call(
        "GET", "/page/view", key="full", headers={PTAG: first.headers[PTAG]}
    )
    assert (again.status, again.text) == (304, "")
    await send_event(closed_api, "sub_1", "storage", transaction_id="2")
    address = "/page/view/subscriptions/sub_1"
    before = await closed_api.call("GET", address, key="full")
    await send_event(closed_api, "sub_1", "storage", transaction_id="3", properties={"gb": "1"})
    headers = {PTAG: before.headers[PTAG]}
    assert (await closed_api.call("GET", address, key="full", headers=headers)).status == 200


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/subscriptions/sub_1",
        "/subscriptions/sub_1/explain/storage",
        "/events/sub_1-storage?subscription=sub_1",
    ],
)
async def test_a_key_sees_no_name_of_another_organization(
    closed_api: Running, address: str
) -> None:
    assert (await closed_api.call("GET", f"/page/view{address}", key=None)).status == 401
    text = await fragment(closed_api, address, key="full")
    assert "sub_1" in text
    for name in (ORGANIZATION, OTHER_ORGANIZATION, "sub_9", "private"):
        assert name not in text
    answer = await closed_api.call(
        "GET", f"/page/view{address}", key="other", headers={"Meter-Organization": ORGANIZATION}
    )
    assert "acme" not in answer.text
    assert "pro (" not in answer.text


async def test_figures_have_12_digits_and_the_whole_one_in_the_title(closed_api: Running) -> None:
    text = await fragment(closed_api, "/subscriptions/sub_1", key="full")
    assert f'<data value="{LONG}" title="{LONG}">≈ 12,345.6789012</data>' in text


async def test_a_period_is_one_of_the_customers_zone(closed_api: Running) -> None:
    text = await fragment(closed_api, "/subscriptions/sub_1", key="full")
    assert "2024-03-01 to 2024-03-31" in text
    assert "Asia/Tokyo" in text
    text = await fragment(closed_api, "/subscriptions/sub_1?period=2024-02-01", key="full")
    assert "Closed period" in text
    answer = await closed_api.call(
        "GET", "/page/view/subscriptions/sub_1?period=2024-02-02", key="full"
    )
    assert (answer.status, "no such period" in answer.text) == (404, True)


async def test_filters_are_named_and_the_rest_is_everything_else(closed_api: Running) -> None:
    await send_event(closed_api, "sub_1", "storage", transaction_id="2", properties={"gb": "1"})
    text = await fragment(closed_api, "/subscriptions/sub_1", key="full")
    assert "region=eu" in text
    assert "everything else" in text


async def test_closed_periods_say_how_far_they_are(closed_api: Running) -> None:
    answer = await closed_api.call("GET", "/page/part/past?subscription=sub_1", key="full")
    assert answer.text.count("final") == 4
    answer = await closed_api.call("GET", "/page/part/past?subscription=sub_1&page=2", key="full")
    assert "Newer periods" in answer.text
    assert (await closed_api.call("GET", "/page/part/past", key="full")).status == 404


async def test_numbers_of_the_chart_stand_in_a_table(closed_api: Running) -> None:
    address = "/page/part/series?subscription=sub_1&metric=storage&window=month"
    text = (await closed_api.call("GET", address, key="full")).text
    assert 'data-chart="series-numbers"' in text
    assert "Numbers of 13 months" in text
    answer = await closed_api.call("GET", f"{address}x", key="full")
    assert (answer.status, "window: value is invalid" in answer.text) == (422, True)


@pytest.mark.parametrize(("window", "numbers"), [("day", "29 days"), ("hour", "696 hours")])
async def test_the_chart_of_a_closed_period_is_of_that_period(
    closed_api: Running, window: str, numbers: str
) -> None:
    address = f"/page/part/series?subscription=sub_1&metric=storage&window={window}"
    text = (await closed_api.call("GET", f"{address}&period=2024-02-01", key="full")).text
    assert f"Numbers of {numbers}" in text
    assert "2024-02-29" in text
    assert "2024-03" not in re.sub(r"<time[^>]*>", "", text)
    view = await fragment(closed_api, "/subscriptions/sub_1?period=2024-02-01", key="full")
    assert "window=day&amp;period=2024-02-01" in view


async def test_an_event_is_traced_to_its_charges(closed_api: Running) -> None:
    text = await fragment(closed_api, "/events/sub_1-storage?subscription=sub_1", key="full")
    assert "First arrival" in text
    assert LONG in text
    answer = await closed_api.call("GET", "/page/view/events/none", key="full")
    assert (answer.status, "No event of this id has come" in answer.text) == (404, True)


async def test_an_operator_chooses_among_several_organizations(open_api: Running) -> None:
    # Definitions name one only.
    text = await fragment(open_api, "/subscriptions/sub_1")
    assert ORGANIZATION not in text
    body = {"billable_metric": {"name": "m", "code": "m", "aggregation_type": "count_agg"}}
    assert (
        await open_api.call("POST", "/api/v1/billable_metrics", body, key="other")
    ).status == 200
    text = await fragment(open_api, "/subscriptions/sub_1?period=x")
    assert f'href="/subscriptions/sub_1?organization={ORGANIZATION}"' in text
    text = await fragment(open_api, f"/subscriptions/sub_1?organization={ORGANIZATION}")
    assert "acme" in text
    assert f"organization={ORGANIZATION}" in text


async def test_a_search_without_a_match_says_so_and_leads_back(open_api: Running) -> None:
    text = await fragment(open_api, "?search=zzz")
    assert "Nothing matches 'zzz'." in text
    assert '<a href="/">Show all</a>' in text
    assert "No usage yet" not in text
    assert '<a href="/subscriptions/zzz">open it by its id</a>' in text


async def test_rows_keep_their_order_and_sort_by_what_is_asked(open_api: Running) -> None:
    names = re.compile(r'<tr id="usage\..*?data-label="Subscription"><a [^>]*>([^<]*)')
    assert names.findall(await fragment(open_api, "")) == ["sub_1", "sub_2", "sub_9"]
    text = await fragment(open_api, "?sort=-subscription")
    assert names.findall(text) == ["sub_9", "sub_2", "sub_1"]
    assert 'aria-sort="descending"' in text


async def test_what_is_not_counted_says_what_to_do(closed_api: Running) -> None:
    sample = UncountedSample("t-1", "sub_1", NOW_MS)
    closed_api.meter.uncounted += [
        Uncounted("unknown_code", "stroage", 15, NOW_MS, NOW_MS, [sample]),
        Uncounted("missing_property", "storage", 5, NOW_MS, NOW_MS, []),
    ]
    text = await fragment(closed_api, "/not-counted", key="full")
    assert "stroage" in text
    assert "Define the metric, or mend the producer." in text
    assert '<a href="/events/t-1?subscription=sub_1">t-1</a>' in text
    text = await fragment(closed_api, "/not-counted?reason=missing_property", key="full")
    assert "stroage" not in text
    assert "Only missing_property." in text
    assert 'id="since"' not in text


async def test_of_very_many_codes_that_are_not_counted_the_most_sent_are_shown(
    closed_api: Running,
) -> None:
    sample = UncountedSample("t", "sub_1", NOW_MS)
    closed_api.meter.uncounted += [
        Uncounted("unknown_code", f"code-{number:04}", number, NOW_MS, NOW_MS, [sample])
        for number in range(1, 1_001)
    ]
    text = await fragment(closed_api, "/not-counted", key="full")
    assert text.count("code-0901</a>") == 1
    assert "code-0900" not in text
    assert "The 100 with most events of 1,000 kinds are shown" in text
    assert "kinds are shown" not in await fragment(
        closed_api, "/not-counted?code=code-0007", key="full"
    )


async def test_what_was_not_counted_before_a_restart_is_never_called_nothing(
    closed_api: Running,
) -> None:
    """A worker knows what it left out itself: it says since when, wherever it says how much."""
    closed_api.meter.uncounted_since_ms = NOW_MS - 60_000
    exact = iso_milliseconds(NOW_MS - 60_000)
    since = f'since <time datetime="{exact}"'
    text = await fragment(closed_api, "/not-counted", key="full")
    assert f'<p class="empty">Nothing {since}' in text
    assert f"Listed is what came {since}" in text
    assert f" not counted {since}" in await fragment(closed_api, "/definitions", key="full")
    text = await fragment(closed_api, "/", key="full")
    assert f"0 codes not counted since {exact[11:19]} UTC" in text
    closed_api.meter.uncounted_since_ms = NOW_MS - 2 * 3_600_000
    assert "0 codes not counted in the last hour" in await fragment(
        closed_api, "/?search=sub", key="full"
    )


async def test_dead_letters_stand_by_code_and_one_by_one(closed_api: Running) -> None:
    closed_api.meter.letters += [letter(6, '{"code": 1}'), letter(7, "{}", OTHER_ORGANIZATION)]
    text = await fragment(closed_api, "/dead-letters", key="full")
    assert "Replay all" in text
    assert "0/7" not in text
    assert "Send seconds, as a number or a text, or RFC 3339." in text
    text = await fragment(closed_api, "/dead-letters/0/6", key="full")
    assert "Refused because timestamp 'noon' is no time" in text
    assert '<pre tabindex="0">{\n  "code": 1\n}</pre>' in text
    for place in ("0/7", "0/99", "0/x", "x/5"):
        answer = await closed_api.call("GET", f"/page/view/dead-letters/{place}", key="full")
        assert answer.status == 404


async def test_older_dead_letters_come_page_by_page(closed_api: Running) -> None:
    letters = [letter(offset, "{}") for offset in range(10, 140)]
    closed_api.meter.letters += letters
    text = await fragment(closed_api, "/dead-letters", key="full")
    assert 'href="/dead-letters?before=newest">All that the topic keeps' in text
    seen: list[str] = []
    address = "/dead-letters?before=newest"
    while address:
        text = await fragment(closed_api, address, key="full")
        assert "data-once" in text
        seen += re.findall(r'aria-label="Mark 0/(\d+)"', text)
        found = re.search(r'href="([^"]*)">Older ones', text)
        address = "" if found is None else unescape(found[1])
    assert seen == [str(offset) for offset in [*range(139, 9, -1), 5]]
    for wrong in ("x", "1:", "1:2,"):
        answer = await closed_api.call("GET", f"/api/v1/dead_letters?before={wrong}", key="full")
        assert (answer.status, list(answer.body["error_details"])) == (422, ["before"])


async def test_what_somebody_sent_is_shown_as_far_as_a_page_can_bear(closed_api: Running) -> None:
    closed_api.meter.letters[0] = msgspec.structs.replace(letter(5, "{}"), message="m" * 100_000)
    properties = {f"p{number}": "x" * 2_000 for number in range(300)}
    await send_event(closed_api, "sub_1", "storage", transaction_id="large", properties=properties)
    for address in ("/dead-letters", "/dead-letters/0/5", "/events/large?subscription=sub_1"):
        assert len(await fragment(closed_api, address, key="full")) < 300_000
    text = await fragment(closed_api, "/events/large?subscription=sub_1", key="full")
    assert "Properties, first 200 of 300" in text
    assert "… (2,002 characters)" in text


async def test_bytes_that_are_no_json_are_shown_in_hex(closed_api: Running) -> None:
    closed_api.meter.letter_bytes[5] = b"\x00\xffABC"
    text = await fragment(closed_api, "/dead-letters/0/5", key="full")
    assert "00000000  00 ff 41 42 43" in text
    assert "..ABC" in text
    answer = await closed_api.call("GET", "/api/v1/dead_letters/0/5", key="full")
    assert answer.body["dead_letter"]["value"] == "AP9BQkM="


async def test_a_replay_tells_what_became_of_each_and_a_sum(closed_api: Running) -> None:
    event = '{"transaction_id": "t-%s", "external_subscription_id": "sub_1", "code": "storage"}'
    closed_api.meter.letters += [letter(6, event % "new"), letter(7, event % "old")]
    await send_event(closed_api, "sub_1", "storage", transaction_id="t-old")
    body = b"place=0/5&place=0/6&place=0/7&place=0/99"
    headers = {"Meter-Page": "1"}
    answer = await closed_api.call(
        "POST", "/page/dead-letters/replay", body, key="full", headers=headers
    )
    summed = "4 events replayed: 1 refused again, 1 counted, 1 duplicate, 1 not sent."
    assert summed in answer.text
    assert "as 0/101 because timestamp" in answer.text
    assert closed_api.meter.replayed == [(0, 5), (0, 6), (0, 7)]
    for key, sent, status in (("full", {}, 403), ("reader", headers, 403), (None, headers, 401)):
        answer = await closed_api.call(
            "POST", "/page/dead-letters/replay", body, key=key, headers=sent
        )
        assert answer.status == status
    answer = await closed_api.call(
        "POST", "/page/dead-letters/replay", b"place=0/5", key="other", headers=headers
    )
    assert "1 not sent" in answer.text


async def test_what_was_published_of_a_period_is_listed_and_downloaded(
    closed_api: Running,
) -> None:
    closed_api.meter.published.values.append(msgspec.json.encode(REVISION))
    query = "?subscription=sub_1&period=2024-02-01"
    text = (await closed_api.call("GET", f"/page/part/records{query}", key="full")).text
    for shown in ("55.75", ">+5<", "late events", "2024-03-01 16:00:00", "Download all as CSV"):
        assert shown in text
    assert "at=2024-02-01T00%3A00%3A00Z&amp;charge=storage&amp;since_revision=0" in text
    (asked,) = closed_api.meter.published.asked
    assert (asked.since, asked.until, asked.revisions) == (date(2024, 2, 1), date(2024, 2, 2), True)
    answer = await closed_api.call("GET", f"/page/records.csv{query}", key="full")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "55.75" in answer.text
    other = await closed_api.call("GET", f"/page/records.csv{query}", key="other")
    assert "id-1" not in other.text
    assert (await closed_api.call("GET", f"/page/records.csv{query}", key=None)).status == 401


async def test_explained_events_are_downloaded_as_they_are_chosen(closed_api: Running) -> None:
    view = await fragment(closed_api, "/subscriptions/sub_1/explain/storage", key="full")
    address = re.search(r'hx-get="(/page/explain.csv[^"]*)"', view)
    assert address is not None
    path = unescape(address[1])
    answer = await closed_api.call("GET", path, key="full")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer.text.splitlines()[1].startswith("counted,,,sub_1-storage,")
    none = await closed_api.call("GET", f"{path}&status=ignored", key="full")
    assert none.text.count("\n") == 1
    assert (await closed_api.call("GET", path, key=None)).status == 401
    assert "sub_1-storage" not in (await closed_api.call("GET", path, key="other")).text


async def test_an_operator_is_asked_for_the_organization_of_a_download(open_api: Running) -> None:
    body = {"billable_metric": {"name": "m", "code": "m", "aggregation_type": "count_agg"}}
    await open_api.call("POST", "/api/v1/billable_metrics", body, key="other")
    answer = await open_api.call("GET", "/page/records.csv?subscription=s", key=None)
    assert answer.status == 422
