"""The page of capacity says what its unit costs come to."""

from __future__ import annotations

from bench.capacity import PAGE, cpu, tables, units
from bench.contest.results import region


def test_the_page_shows_the_units_that_are_kept() -> None:
    assert region(PAGE.read_text()) == tables(units())


def test_cpu_of_an_event_is_that_of_the_contest_that_is_kept() -> None:
    """`python -m bench.capacity --cpu` takes it from there."""
    kept = units()
    found = cpu()
    assert found.keys() == {"cpu_narrow_us", "cpu_wide_us"}
    assert {name: kept[name]["value"] for name in found} == found


def test_a_unit_goes_into_its_columns_alone() -> None:
    kept = units()
    kept["event_bytes"]["value"] = 1000
    kept["replicas"]["value"] = 3
    kept["cpu_narrow_us"]["value"] = 10
    kept["cpu_wide_us"]["value"] = 40
    kept["load"]["value"] = 0.5
    rows = tables(kept).splitlines()
    (row,) = (row for row in rows if row.startswith("| 100,000 | 1 |"))
    columns = row.strip("| ").split(" | ")
    # 3.2e12 events of 1 kB, three times.
    assert columns[2:4] == ["3.2e12", "9.47 PB"]
    assert columns[7] == "2 / 8"
