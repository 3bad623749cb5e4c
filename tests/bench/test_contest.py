"""The contest checks what it measures, and the page shows what was measured."""

from __future__ import annotations

import re
from decimal import Decimal
from statistics import median

import pytest

from app.local_servers.kafka import LocalKafka
from bench.__main__ import PARTS, main
from bench.contest.arena import Run, Wrong, arena
from bench.contest.contestants import CONTESTANTS, OURS, require_closed, require_equal
from bench.contest.loads import LOADS, records
from bench.contest.recount import Usage, recount
from bench.contest.results import (
    PAGE,
    PLOT,
    LoadResults,
    Results,
    Series,
    joined,
    plot,
    read,
    region,
    table,
)
from bench.contest.tools import ROOT

EVENTS = 400
SMALL = LOADS["mixed"]._replace(subscriptions=20)


async def test_what_reading_and_ours_leave_is_right(local_kafka: LocalKafka) -> None:
    async with arena(local_kafka, SMALL, EVENTS) as here:
        run = await CONTESTANTS["reading"].take(here, "small-reading")
        assert run.cpu_us > 0
        assert run.rss_mb > 10
        # It is measured as in each round, and then it closes.
        await require_closed(here, "small-closing")


def test_a_recount_counts_copies_once_and_late_events_apart() -> None:
    values = [record.value for record in records(SMALL, EVENTS, 4)]
    found = recount(values, 4)
    copies = EVENTS - len(set(values))
    assert copies > 0
    assert sum(count for count, _ in found.tallies.values()) == EVENTS
    assert sum(found.events_at_home) == EVENTS - copies
    late = sum(usage.events for (_, code), usage in found.late.items() if code != "users")
    assert 0 < late < EVENTS / 10


def test_a_recount_of_events_by_hand() -> None:
    def event(number: int, code: str, at: str, **properties: object) -> bytes:
        return (
            f'{{"organization_id":"o","external_subscription_id":"s","transaction_id":"{number}",'
            f'"timestamp":"{at}","code":"{code}","properties":'
            f'{{"gb":2.5,"cores":{number},"user":"u"}}}}'
        ).encode()

    half = "1768564800.000"  # noon of 16 January: half of it is left
    values = [event(n, code, half) for n, code in enumerate(("gb", "gb", "cpu", "disk", "users"))]
    assert recount(values, 4).usage == {
        ("s", "gb"): Usage(Decimal(5), 2),
        ("s", "cpu"): Usage(Decimal(2), 1),
        ("s", "disk"): Usage(Decimal("1.25"), 1),
        ("s", "users"): Usage(Decimal(1), 1),
    }


def test_an_output_that_differs_is_wrong() -> None:
    expected = {("s", "gb"): Usage(Decimal(5), 2), ("s", "cpu"): Usage(Decimal(2), 1)}
    require_equal("its table", dict(expected), expected)
    other = expected | {("s", "gb"): Usage(Decimal(5), 3)}
    for found, shown in ((other, "5 3"), ({("s", "cpu"): expected["s", "cpu"]}, "absent")):
        with pytest.raises(Wrong, match=rf"its table: 1 of 2 keys differ; s/gb is {shown}, not 5"):
            require_equal("its table", found, expected)


def test_who_was_wrong_or_skipped_has_no_figure() -> None:
    run, cheap = Run(50_000, 10, 100), Run(90_000, 4, 50)
    series = {
        "reading": Series([cheap]),
        "ours": Series([run, Run(60_000, 8, 100)]),
        "streams-memory": Series([run], skipped="there is no JDK"),
        "streams-rocksdb": Series([Run(40_000, 18, 300)]),
        "faust": Series([run], wrong="its table: 1 of 2 keys differ"),
    }
    load = LoadResults("2026-01-01", 1, "few", series)
    results = Results("2 cores", 5, 2, "", {"narrow": load})
    rows = {row.split(" | ")[0].strip("| "): row for row in table(results).splitlines()}
    assert (
        "55,000 (50,000 to 60,000) | 9.00 (8.00 to 10.00) | 2.25 | 0.50 | 100 |"
        in rows["Meterstream, 1 worker"]
    )
    assert "no figure, wrong: its table" in rows["plain Faust"]
    assert "no figure, skipped: there is no JDK" in rows["Kafka Streams, in memory"]
    for row in ("plain Faust", "Kafka Streams, in memory"):
        assert "50,000" not in rows[row]
    assert re.findall(r">(wrong|skipped)<", plot(results)) == ["skipped", "wrong"]


def test_loads_that_were_measured_before_are_kept_if_they_can_be_compared() -> None:
    old, new = (LoadResults(f"2026-01-0{day}", 1, "few", {}) for day in (1, 2))
    known = Results("2 cores", 5, 2, "old", {"narrow": old, "mixed": old})
    found = joined(Results("2 cores", 5, 2, "new", {"mixed": new, "wide": new}), known)
    assert list(found.loads.items()) == [("narrow", old), ("wide", new), ("mixed", new)]
    assert found.note == "new"
    for other in (("4 cores", 5, 2), ("2 cores", 6, 2), ("2 cores", 5, 3)):
        assert joined(Results(*other, "", {"wide": new}), known).loads == {"wide": new}


def test_the_page_and_the_plot_show_the_results_that_are_kept() -> None:
    assert region(PAGE.read_text()) == table(read())
    assert PLOT.read_text() == plot(read())


def test_the_first_page_says_what_one_worker_came_to() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    rates = {
        name: median(run.events_per_s for run in load.contestants[OURS[0]].figures)
        for name, load in read().loads.items()
    }
    assert f"folds {round(rates['narrow'], -3):,.0f} events a second of few keys" in page
    assert f"{round(rates['wide'], -3):,.0f} of a hundred thousand keys" in page


def test_the_page_names_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text()
    assert [part for part in PARTS if f"`{part}`" not in page] == []
    assert main(["nothing"]) == 2
    assert "contest, dedupe, pairs" in capsys.readouterr().err
