"""Licence, notice, changelog and metadata are whole and agree with each other."""

from __future__ import annotations

import re
import tomllib
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTICE = (ROOT / "NOTICE").read_text()

APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the text of the Apache License 2.0, as its foundation publishes it."""


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert set(PROJECT["license-files"]) == {"LICENSE", "NOTICE"}
    assert sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0


def test_the_notice_names_every_file_that_was_taken_over() -> None:
    taken = {
        path.name
        for folder in ("app", "agents", "tables", "deploy", "docs")
        for vendor in (ROOT / folder).rglob("vendor")
        for path in vendor.iterdir()
        if path.suffix in (".js", ".css")
    }
    assert {name for name in taken if name not in NOTICE} == set()
    assert ("No file of this repository was taken over" in NOTICE) == (not taken)


def test_the_version_has_an_entry_in_the_changelog() -> None:
    entries = re.findall(
        r"^## (\d+\.\d+\.\d+)\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert entries[0] == PROJECT["version"]
    assert entries == sorted(entries, key=lambda each: [int(n) for n in each.split(".")])[::-1]


def test_the_metadata_says_who_where_and_for_whom() -> None:
    assert PROJECT["authors"]
    assert (ROOT / PROJECT["readme"]).is_file()
    assert {"Homepage", "Documentation", "Changelog", "Security"} <= PROJECT["urls"].keys()
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())
    assert PROJECT["keywords"] == sorted(PROJECT["keywords"])
    assert PROJECT["classifiers"] == sorted(PROJECT["classifiers"])


def test_how_to_report_a_hole_says_what_is_supported_and_how_long_it_takes() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    for heading in ("Reporting a hole", "What happens then, and how long it takes"):
        assert f"## {heading}\n" in page
    assert "## Supported versions\n" in page
    assert len(re.findall(r"\| \d+ (?:working )?days \|$", page, re.MULTILINE)) == 4
