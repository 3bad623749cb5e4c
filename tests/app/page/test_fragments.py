"""Fragments from values alone: three figures named apart, and events in their revisions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions.model import Charge, Metric
from app.meter.evidence import (
    ChargeOutcome,
    ChargeUsageSeries,
    EventFate,
    ExplainedCell,
    ExplainQuery,
    Explanation,
    FigureTexts,
    PendingFigures,
    Place,
    UsageSeries,
    WindowUsage,
)
from app.meter.usage import (
    AsOf,
    ChargeInForce,
    PendingRow,
    PeriodState,
    Publication,
    UsageRow,
)
from app.page.downloads import downloads
from app.page.explain import explain_address, explain_view
from app.page.figures import figure
from app.page.html import el
from app.page.overview import Look, health_words, overview_view, sorted_lines
from app.page.published import records_part
from app.page.series import series_part
from app.page.subscription import About, PageChoice, subscription_view
from app.wire.record_rows import COLUMNS
from tests.world.period_usage import period_usage

NOW_MS = 1_710_504_000_000
METRIC = Metric(
    id="m", organization_id="o", code="gb", name="GB", aggregation_type="sum_agg", created_at_ms=0
)
CHARGE = Charge(id="c", metric_id="m", code="gb", charge_model="standard", created_at_ms=0)
ABOUT = About("sub", None, "acme", "pro", "UTC", "active", 0)
WANTED = PageChoice(None, None, None, "day")


def words(html: str) -> str:
    """Return what is read of a fragment."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def row_of(
    units: str, events: int, revision: int | None = None, pending: PendingRow | None = None
) -> UsageRow:
    return UsageRow(
        charge_id="c",
        filter_id=None,
        units=Decimal(units),
        total_aggregated_units=Decimal(units),
        events_count=events,
        revision=revision,
        pending=pending,
    )


def closed(row: UsageRow, publication: Publication) -> str:
    charges = (ChargeInForce(CHARGE, METRIC),)
    from_ms = NOW_MS - 31 * 86_400_000
    usage = period_usage(charges, (row,), from_ms, NOW_MS, publication)
    return words(subscription_view(ABOUT, usage, (), WANTED))


PUBLISHED = Publication(
    state="published",
    closed_at_ms=NOW_MS,
    final_after_ms=NOW_MS + 86_400_000,
    pending_cut_ms=NOW_MS + 3_600_000,
)


@pytest.mark.parametrize(
    ("revision", "pending", "told"),
    [
        pytest.param(
            1,
            PendingRow(Decimal("55.75"), 37, "late_events"),
            "GB gb 50.75 +5 , late events at 2024-03-15 13:00:00 55.75 1 — — 35",
            id="revised",
        ),
        pytest.param(1, None, "GB gb 50.75 nothing 50.75 1 — — 35", id="as-published"),
        pytest.param(
            None,
            PendingRow(Decimal("50.75"), 35, None),
            "GB gb not yet +50.75 , first record at 2024-03-15 13:00:00 50.75 — — — —",
            id="not-published",
        ),
        pytest.param(None, None, "GB gb no record nothing 50.75 — — — —", id="without-a-record"),
    ],
)
def test_published_pending_and_live_stand_apart(
    revision: int | None, pending: PendingRow | None, told: str
) -> None:
    row = row_of("50.75", 35, revision, pending)
    text = closed(row, PUBLISHED)
    assert told in text
    assert "published at 2024-03-15 12:00:00 ; late events revise it until" in text


@pytest.mark.parametrize(
    ("state", "told"),
    [
        pytest.param("due", "GB gb not yet nothing 0 — — — —", id="due"),
        pytest.param("published", "GB gb no record nothing 0 — — — —", id="published"),
        pytest.param("not_billed", "GB gb — nothing 0 — — — —", id="not-billed"),
    ],
)
def test_what_has_no_record_is_not_published_as_0(state: PeriodState, told: str) -> None:
    """Zero is a figure of a record; without one there is none."""
    charges = (ChargeInForce(CHARGE, METRIC),)
    usage = period_usage(charges, (), 0, NOW_MS, Publication(state=state))
    assert told in words(subscription_view(ABOUT, usage, (), WANTED))


def test_a_row_of_the_null_group_leads_to_what_it_is_made_of() -> None:
    row = replace(row_of("5", 2), grouped_by=(("user", None), ("cloud", "a")))
    charges = (ChargeInForce(CHARGE, METRIC),)
    usage = period_usage(charges, (row,), 0, NOW_MS, Publication(state="open"))
    html = subscription_view(ABOUT, usage, (), WANTED)
    assert "group%5Buser%5D=&amp;group%5Bcloud%5D=a" in html
    query = ExplainQuery(
        external_subscription_id="s", metric_code="gb", at_ms=0, group={"user": ""}
    )
    assert explain_address(query, None, at=None) == "/subscriptions/s/explain/gb?group%5Buser%5D="


def test_rows_that_are_too_many_to_show_are_summed_up() -> None:
    row = row_of("0.5", 2)
    rows = tuple(replace(row, grouped_by=(("user", f"u{number}"),)) for number in range(700))
    charges = (ChargeInForce(CHARGE, METRIC),)
    usage = period_usage(charges, rows, 0, NOW_MS, Publication(state="open"))
    text = words(subscription_view(ABOUT, usage, (), WANTED))
    assert "Running period, first 200 rows" in text
    assert "In all GB: 350 units of 1,400 events, 700 rows" in text
    assert "All rows: meter usage sub -o csv" in text


def test_a_record_of_the_default_bucket_is_of_everything_else() -> None:
    row = dict.fromkeys(COLUMNS, "") | {"type": "usage.recorded", "id": "1", "units": "1"}
    row |= {"charge_code": "gb", "revision": "0", "closed_at": "2024-03-15T12:00:00.000Z"}
    of_eu = {**row, "id": "2", "filters": "region=eu"}
    other = {**row, "id": "3", "charge_code": "calls"}
    text = words(records_part(ABOUT, [row, of_eu, other], 3, "2024-02-01"))
    assert text.count("everything else") == 1
    assert text.count("region=eu") == 1


def test_records_stand_by_figure_and_their_change_is_that_of_the_record() -> None:
    """The first one has no delta: nothing of it is a further line or a credit note."""
    first = dict.fromkeys(COLUMNS, "") | {"type": "usage.recorded", "units": "1"}
    first |= {"charge_code": "gb", "revision": "0", "closed_at": "2024-03-15T12:00:00.000Z"}
    first |= {"closing_reason": "period_end"}
    later = first | {"revision": "1", "units": "3", "delta_units": "2"}
    later |= {"type": "usage.revised", "revision_reason": "late_events"}
    complete = first | {"type": "period.completed", "charge_code": ""}
    rows = [{**row, "id": str(n)} for n, row in enumerate([complete, later, first])]
    text = words(records_part(ABOUT, rows, 3, "2024-02-01"))
    one, two, three = (
        text.index(each)
        for each in ("gb 1 — 0 period end", "gb 3 +2 1 late events", "the period is complete")
    )
    assert one < two < three


def test_a_difference_keeps_every_digit() -> None:
    pending = PendingRow(Decimal("1234567890123456789012345678901.75"), 2, "late_events")
    row = row_of("1234567890123456789012345678901.5", 1, 0, pending)
    assert "+0.25" in closed(row, PUBLISHED)
    long = PendingRow(Decimal("0.26574579599761051374"), 2, "late_events")
    text = closed(row_of("0", 1, 0, long), PUBLISHED)
    assert "≈ +0.265745795998 , late events" in text


def explanation(since_ms: int | None) -> Explanation:
    live = FigureTexts(
        units="55.75",
        prorated_units=None,
        total_aggregated_units="55.75",
        precise_total_amount_cents=None,
        events_count=37,
        digest="",
    )
    cell = ExplainedCell(
        charge_id="c",
        charge_code="gb",
        filter_values=None,
        grouped_by=(),
        live=live,
        recomputed=live,
        published=FigureTexts(
            units="50.75",
            prorated_units=None,
            total_aggregated_units="50.75",
            precise_total_amount_cents=None,
            events_count=35,
            digest="",
        ),
        revision=1,
        pending=PendingFigures(NOW_MS, Decimal("5.0"), 2, "late_events"),
    )
    outcome = ChargeOutcome(
        charge_id="c",
        charge_code="gb",
        metric_code="gb",
        from_ms=0,
        to_ms=NOW_MS,
        reason=None,
        value="5",
    )
    fates = [
        EventFate(
            transaction_id=f"t-{number}",
            external_subscription_id="sub",
            code="gb",
            timestamp_ms=NOW_MS,
            place=Place(NOW_MS, 0, number, 0),
            rekeyed_offset=None,
            status="counted",
            reason=None,
            charges=(each,),
        )
        for number, each in enumerate(
            (
                replace(outcome, revision=1),
                replace(outcome, shown_ms=NOW_MS),
            )
        )
    ]
    return Explanation(
        external_subscription_id="sub",
        metric_code="gb",
        from_ms=0,
        to_ms=NOW_MS,
        timezone="UTC",
        cells=(cell,),
        events=tuple(fates),
        counts={"counted": 37},
        listed_count=37,
        as_of=AsOf(NOW_MS, 0, 1, 0),
        stale=False,
        since_ms=since_ms,
    )


def test_explain_says_what_is_published_and_in_which_revision_an_event_is() -> None:
    query = ExplainQuery(external_subscription_id="sub", metric_code="gb", at_ms=0)
    text = words(explain_view(explanation(None), query, None, 1))
    waits = "+5 , late events at 2024-03-15 12:00:00"
    assert f"gb 50.75 revision 1 {waits} 55.75 55.75 equal everything else" in text
    assert "t-0 5 counted — in 1" in text
    assert "t-1 5 counted — at the cut 2024-03-15 12:00:00" in text
    assert "Only events" not in text


def test_events_since_a_revision_are_said_to_be_only_those() -> None:
    query = ExplainQuery(
        external_subscription_id="sub", metric_code="gb", at_ms=0, since_revision=0
    )
    text = words(explain_view(explanation(NOW_MS), query, None, 1))
    assert "differ from revision 0, cut at 2024-03-15 12:00:00" in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("1234567.5", "1,234,567.5"),
        ("0.1234567890123456", "≈ 0.123456789012"),
        ("100", "100"),
        ("-0.5", "-0.5"),
        ("1" * 30, "≈ 111,111,111,111,000,000,000,000,000,000"),
        ("add:a", "add:a"),
    ],
)
def test_figures_are_short_and_whole_in_the_title(given: str, shown: str) -> None:
    assert words(figure(given)) == shown
    assert given in figure(given)


def test_texts_are_escaped_and_attributes_too() -> None:
    made = el("a", "<b>&", href='"><script>', hx_get="/x", hidden=False, disabled=True)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" hx-get="/x" disabled>&lt;b&gt;&amp;</a>'


WELL: dict[str, Any] = {
    "health": [],
    "partitions": [
        {"partition": 0, "lag": 0, "rekeyed_lag": 0, "state": "running", "append_time": None}
    ],
    "closing": [],
    "set_aside": 0,
    "parked": 0,
    "dead_letters_lately": 0,
    "dead_letters_more": False,
    "not_counted_lately": None,
    "each_worker": [{"differing": 0}],
    "records": [],
}


@pytest.mark.parametrize(
    ("wrong", "told", "state"),
    [
        pytest.param({}, "No event waits, none was refused", "good", id="well"),
        pytest.param({"set_aside": 2}, "2 records set aside.", "warn", id="set-aside"),
        pytest.param({"not_counted_lately": 1}, "1 code with events not", "warn", id="not-counted"),
        pytest.param({"dead_letters_lately": 3}, "3 events refused", "warn", id="refused"),
        pytest.param(
            {"dead_letters_lately": 50, "dead_letters_more": True},
            "50 events refused in the last hour, or more.",
            "warn",
            id="more-are-refused-than-are-kept",
        ),
        pytest.param(
            {"dead_letters_more": True},
            "How many events of yours were refused in the last hour is not known.",
            "warn",
            id="others-pushed-it-out",
        ),
        pytest.param({"each_worker": [{"differing": 1}]}, "1 metric that", "warn", id="differs"),
        pytest.param(
            {"partitions": [{"partition": 4, "lag": None, "append_time": None}]},
            "Nobody answers for partition 4",
            "warn",
            id="unknown",
        ),
        pytest.param(
            {"health": [{"code": "redis_full", "message": "Redis is full"}]},
            "Redis is full.",
            "bad",
            id="bad-health",
        ),
        pytest.param(
            {
                "health": [
                    {"code": "disk_low", "message": "The disk has 9 bytes left"},
                    {"code": "disk_full", "message": "The disk is full"},
                ]
            },
            "The disk is full.",
            "bad",
            id="what-stops-comes-first",
        ),
    ],
)
def test_green_means_that_nothing_is_wrong(wrong: dict[str, Any], told: str, state: str) -> None:
    said, how = health_words({**WELL, **wrong})
    assert said.startswith(told)
    assert how == state


def test_explained_events_are_chosen_by_status_and_reason() -> None:
    found = explanation(None)
    lost = replace(found.events[0], status="ignored", reason="missing_property")
    found = replace(found, events=(lost,), counts={"counted": 37, "ignored": 1}, listed_count=1)
    query = ExplainQuery(
        external_subscription_id="sub", metric_code="gb", at_ms=0, status="ignored"
    )
    text = explain_view(found, query, None, 1)
    at = "at=1970-01-01T00%3A00%3A00.000Z"
    assert f'href="/subscriptions/sub/explain/gb?{at}&amp;status=counted">counted</a>' in text
    assert f'{at}&amp;status=ignored" aria-current="true">ignored</a>' in text
    assert f'{at}&amp;reason=missing_property">missing_property</a>' in text
    assert f"/page/explain.csv?subscription=sub&amp;code=gb&amp;{at}&amp;status=ignored" in text
    assert "38 events: 37 counted, 1 ignored." in text


def test_what_one_download_does_not_hold_comes_by_parts() -> None:
    def source(number: str) -> str:
        return f"/csv?page={number}"

    assert downloads(0, source, "meter") is None
    assert words(downloads(1_000, source, "meter") or "") == "Download all as CSV"
    text = words(downloads(2_500, source, "meter") or "")
    assert text == (
        "CSV of 1 to 1,000 CSV of 1,001 to 2,000 CSV of 2,001 to 2,500 All 2,500 at once: meter"
    )


def test_a_line_that_is_too_much_to_sum_up_comes_first_by_events() -> None:
    line = {
        "organization_id": "org",
        "external_subscription_id": "a",
        "billable_metric_code": "gb",
        "charge_code": "gb",
        "units": "1",
        "events_count": 7,
    }
    many = {**line, "external_subscription_id": "b", "units": None, "events_count": None}
    found = sorted_lines([line, many], "-events")
    assert [each["events_count"] for each in found] == [None, 7]


def test_a_subscription_without_a_figure_now_is_shown_to_who_searches_it() -> None:
    line: dict[str, Any] = dict.fromkeys(("billable_metric_code", "charge_code"), "")
    line |= {"organization_id": "o", "external_subscription_id": "ended"}
    line |= {"external_customer_id": "acme", "implicit": False}
    shown = {
        **WELL,
        "partitions": [],
        "each_worker": [],
        "usage": [{**line, "units": None, "events_count": None}],
        "usage_total": 1,
    }
    text = overview_view(shown, Look(search="ended"))
    assert "ended none in a running period — — acme —" in words(text)
    assert text.count('<a href="/subscriptions/ended">') == 2
    shown["usage_total"] = 7
    assert "Subscriptions, 1 of 7" in words(overview_view(shown, Look()))
    assert "is found by a search" in overview_view(shown, Look())


@pytest.mark.parametrize(
    ("units", "seen"), [("1066.75", "1,066.75"), ("0.1234567890126", "≈ 0.123456789013")]
)
def test_the_spoken_name_of_a_figure_holds_what_is_seen(units: str, seen: str) -> None:
    line = {"organization_id": "o", "external_subscription_id": "s", "external_customer_id": "c"}
    of = {"billable_metric_code": "gb", "charge_code": "gb", "implicit": False}
    period = {"from": "2024-03-01T00:00:00Z", "to": "2024-03-31T23:59:59Z", "timezone": "UTC"}
    figures = {"units": units, "events_count": 1}
    shown = {**WELL, "partitions": [], "each_worker": [], "usage_total": 1}
    text = overview_view({**shown, "usage": [{**line, **of, **period, **figures}]}, Look())
    assert f'aria-label="Explain {seen} of gb"' in text
    assert f">{seen}</data>" in text


def test_a_series_is_made_a_window_at_a_time() -> None:
    hour_ms = 3_600_000
    values = tuple(
        WindowUsage(at_ms, at_ms + hour_ms, Decimal(at_ms // hour_ms), Decimal(0), 1)
        for at_ms in range(0, 50 * hour_ms, hour_ms)
    )
    series = UsageSeries(
        external_subscription_id="sub",
        metric_code="gb",
        aggregation_type="sum_agg",
        charges=tuple(ChargeUsageSeries(code, code, values) for code in ("c0", "c1")),
        as_of=AsOf(NOW_MS, 0, 1, 0),
    )
    parts = list(series_part(series, "hour", "UTC"))
    assert max(part.count("<tr") for part in parts) == 1
    text = "".join(parts)
    assert text.count("<tr") == 51
    assert text.count("<") == text.count("</") * 2
    assert "Numbers of 50 hours gb by hour, UTC From c0 c1 1970-01-01 00:00:00 0 0" in words(text)
