"""A statement: the same figure gives the same bytes, and a changed one does not pass the check."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from app.cli.main import cli
from app.definitions import commands
from app.offline.stated import SUMS, NoStatement, StatedFigure
from app.offline.statement import statement
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story

JANUARY = StatedFigure(ORG, SUBSCRIPTION, "m", "2024-01")


def story() -> Story:
    """January of two subscriptions, among definitions of another organization."""
    told = Story().metric("m", "sum_agg")
    told.define(
        "2023-12-31", commands.create_billable_metric("their", bodies.metric("x", "count_agg"))
    )
    told.plan({"code": "m", "properties": {"pricing_group_keys": ["region"]}})
    told.subscribe().subscribe(external_id="other")
    for day, value in enumerate((1, 2, 4), 10):
        told.send(f"2024-01-{day}", v=value, region="eu" if day == 10 else "us")
    told.append("2024-01-20", raw("m", "theirs", ms("2024-01-20"), "other", v=100))
    pair = [raw("m", name, ms("2024-01-21"), name, v=8) for name in ("other", SUBSCRIPTION)]
    told.append("2024-01-21", pair)  # type: ignore[arg-type]
    told.append("2024-01-25", cancel("t0"))
    told.send("2024-01-31").send("2024-02-03", v=7).append("2024-02-04", cancel("t7", "c3"))
    told.append("2024-02-05", amend(raw("m", "t1", ms("2024-01-11"), v=3, region="us")))
    return told


def made(told: Story, at: str, wanted: StatedFigure = JANUARY) -> bytes:
    values = [r.value for r in told.meter(at).records if r.topic == "usage-records"]
    return statement(wanted, told.definitions, lambda _: told.events, values)


def check(content: bytes, path: Path) -> Result:
    path.write_bytes(content)
    return CliRunner().invoke(cli, ["statement", "check", str(path)])


def changed(content: bytes, name: str, old: bytes, new: bytes, *, sums: bool = True) -> bytes:
    """Return the file with another text in one place; `sums`: with sums that fit."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    assert old in files[name]
    files[name] = files[name].replace(old, new, 1)
    if sums:
        files[SUMS] = b"".join(
            f"{sha256(text).hexdigest()}  {each}\n".encode()
            for each, text in files.items()
            if each != SUMS
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return packed.getvalue()


@pytest.mark.parametrize(("at", "records"), [("2024-02-02", 2), ("2024-02-06", 3)])
def test_it_proves_what_was_published(at: str, records: int, tmp_path: Path) -> None:
    content = made(story(), at)
    answer = check(content, tmp_path / "s.zip")
    assert answer.exit_code == 0, answer.output
    assert f"equal, {records} records" in answer.stdout
    assert "Not proved" in answer.stdout


def test_the_same_figure_gives_the_same_bytes() -> None:
    told = story()
    first = made(told, "2024-02-06")
    # Whatever happens later, or to others.
    told.send("2024-02-07", v=9).append("2024-02-08", raw("m", "y", ms("2024-02-08"), "other", v=1))
    told.define("2024-02-08", commands.create_billable_metric(ORG, bodies.metric("n", "count_agg")))
    assert made(told, "2024-02-09") == first


def test_it_shows_nothing_of_others() -> None:
    content = made(story(), "2024-02-06")
    for text in (b"their", b"theirs", b'"other"', b'"v":100'):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                assert text not in archive.read(name), (text, name)


def test_it_shows_only_definitions_that_the_figure_follows_from(tmp_path: Path) -> None:
    told = story()
    told.metric("secret-m", "count_agg").plan({"code": "secret-m"}, code="secret-plan")
    told.subscribe(
        external_id="secret-sub", external_customer_id="secret-customer", plan_code="secret-plan"
    )
    customer = {"external_id": "customer", "timezone": "Europe/Berlin", "name": "Own"}
    for changed_by, body in (
        ("secret-key", {**customer, "name": "Ours"}),
        (None, {"external_id": "secret-too", "name": "Acme"}),
    ):
        command = commands.upsert_customer(ORG, body)
        told.define("2023-12-31", replace(command, changed_by=changed_by))
    told.define("2024-01-02", commands.delete_plan(ORG, "secret-plan"))
    told.define("2024-01-03", commands.set_aside(0, 0, code="set_aside", message="secret of Acme"))
    content = made(told, "2024-02-06")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        defined = archive.read("definitions.jsonl")
    assert b"secret" not in defined
    assert b"Acme" not in defined
    assert b"Ours" in defined
    assert defined.count(b'"omitted"') == 8
    result = check(content, tmp_path / "it.zip")
    assert result.exit_code == 0, result.output


def test_what_was_set_aside_later_does_not_count(tmp_path: Path) -> None:
    """It was never there, not even for cuts before: whoever folds the file must not count it."""
    told = story()
    places: tuple[tuple[int, int | None], ...] = ((1, None), (4, 1))
    for offset, index in places:
        aside = commands.set_aside(0, offset, index=index, code="set_aside", message="")
        told.define("2024-02-10", aside)
    content = made(told, "2024-02-11")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert b'"t1"' not in archive.read("events.csv")
    result = check(content, tmp_path / "it.zip")
    assert result.exit_code == 0, result.output


def test_every_event_is_listed_with_its_reason() -> None:
    with zipfile.ZipFile(io.BytesIO(made(story(), "2024-02-06"))) as archive:
        rows = list(csv.DictReader(archive.read("events.csv").decode().splitlines()))
        stated = json.loads(archive.read("statement.json"))
    assert [(row["transaction_id"], row["status"], row["value"]) for row in rows] == [
        ("t0", "cancelled", ""),
        ("t1", "counted", "3.0"),
        ("t2", "counted", "4.0"),
        (SUBSCRIPTION, "counted", "8.0"),
        ("t6", "ignored", ""),
    ]
    assert rows[-1]["reason"] == "missing_property"
    assert [row["counts_from_cut"] for row in rows][1] == "2024-02-05T00:00:00.000Z"
    assert sorted(cell["units"] for cell in stated["cells"]) == ["7.0", "8.0"]


@pytest.mark.parametrize(
    ("name", "old", "new", "sums", "code"),
    [
        ("events.jsonl", b'"v":4', b'"v":5', True, 1),
        ("events.jsonl", b'"v":4', b'"v":5', False, 1),
        ("records.jsonl", b'"units":"7.0"', b'"units":"6.0"', True, 1),
        ("statement.json", b'"units": "7.0"', b'"units": "6.0"', True, 1),
        ("statement.json", b'"region": "us"', b'"region": "eu"', True, 1),
        ("statement.json", b'"external_customer_id": "', b'"external_customer_id": "x', True, 1),
        ("statement.json", b'"cut": "2024-02-05', b'"cut": "2024-02-06', True, 1),
        ("statement.json", b'"final_after": "2', b'"final_after": "3', True, 1),
        ("statement.json", b'"schema_version": 2', b'"schema_version": 1', True, 1),
        ("statement.json", b'"name": "', b'"name": "x', True, 1),
        ("statement.json", b'"cells": [', b'"cells": [{"cell_id": "x"},', True, 1),
        ("events.csv", b"yes,counted", b"no,ignored", True, 1),
        ("events.csv", b"t2", b"t9", True, 1),
        ("README.txt", b"without", b"with", False, 1),
        ("statement.json", b'"format": 1', b'"format": 9', True, 3),
        ("statement.json", b"{", b"", True, 3),
        ("definitions.jsonl", b"{", b"", True, 3),
    ],
)
def test_what_was_changed_does_not_pass(
    name: str, old: bytes, new: bytes, sums: bool, code: int, tmp_path: Path
) -> None:
    content = changed(made(story(), "2024-02-06"), name, old, new, sums=sums)
    answer = check(content, tmp_path / "s.zip")
    assert answer.exit_code == code, answer.output
    assert "Proved" not in answer.stdout


def test_a_revision_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    content = made(story(), "2024-02-06")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read("records.jsonl").splitlines(keepends=True)
    older = next(line for line in lines if json.loads(line)["revision"] == 0)
    answer = check(changed(content, "records.jsonl", older, b"", sums=True), tmp_path / "s.zip")
    assert (answer.exit_code, "is missing" in answer.output) == (1, True), answer.output


def test_a_record_twice_or_elsewhere_is_told(tmp_path: Path) -> None:
    content = made(story(), "2024-02-06")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        written = archive.read("records.jsonl")
    lines = written.splitlines(keepends=True)
    for other in (b"".join([*lines, lines[0]]), b"".join(reversed(lines))):
        answer = check(changed(content, "records.jsonl", written, other), tmp_path / "s.zip")
        assert (answer.exit_code, "in another order" in answer.output) == (1, True), answer.output


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["events.csv", "events (corrected).csv"])
def test_nothing_lies_beside_what_is_compared(name: str, tmp_path: Path) -> None:
    packed = io.BytesIO(made(story(), "2024-02-06"))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, b"counted")
    answer = check(packed.getvalue(), tmp_path / "s.zip")
    assert (answer.exit_code, name in answer.output) == (3, True), answer.output


def test_no_statement_is_none(tmp_path: Path) -> None:
    assert check(b"nothing", tmp_path / "s.zip").exit_code == 3
    with pytest.raises(NoStatement):
        made(story(), "2024-02-06", StatedFigure(ORG, SUBSCRIPTION, "m", "2023-01"))
    told = story().send("2024-02-20", v=1)
    with pytest.raises(NoStatement, match="Several periods"):
        made(told, "2024-03-06", StatedFigure(ORG, SUBSCRIPTION, "m", "2024"))
    with pytest.raises(NoStatement):
        made(story(), "2024-02-06", StatedFigure(ORG, SUBSCRIPTION, "x", "2024-01"))
