"""Several workers of one parent: how many, and what each of them gets."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli.children import of_child, workers_option
from app.settings import Settings

MIB = 1024 * 1024


@click.command()
@workers_option
def counted(workers: int) -> None:
    click.echo(workers)


@pytest.mark.parametrize(
    ("words", "count"),
    [([], 1), (["--workers", "3"], 3), (["--workers", "auto"], len(os.sched_getaffinity(0)))],
    ids=["unless told", "number", "auto"],
)
def test_so_many_workers_are_run(words: list[str], count: int) -> None:
    assert CliRunner().invoke(counted, words).output == f"{count}\n"


@pytest.mark.parametrize("words", ["0", "-1", "many", "257"])
def test_what_is_no_number_of_workers_is_refused(words: str) -> None:
    answer = CliRunner().invoke(counted, ["--workers", words])
    assert answer.exit_code == 2
    assert "neither a number from 1 to 256 nor auto" in answer.stderr


def test_children_have_names_and_directories_of_their_own_and_share_the_memory() -> None:
    settings = Settings(
        profile="test",
        state_dir=Path("/state"),
        group_instance_id="host",
        dedupe_memory_bytes=64 * MIB,
        warm_bytes=2 * MIB,
        ledger_bytes=4 * MIB,
    )
    children = [of_child(settings, number, 4) for number in (1, 2, 3, 4)]
    assert [child.group_instance_id for child in children] == [
        "host-1",
        "host-2",
        "host-3",
        "host-4",
    ]
    assert {child.state_dir for child in children} == {
        Path(f"/state/worker-{number}") for number in (1, 2, 3, 4)
    }
    budgets = {(c.dedupe_memory_bytes, c.warm_bytes, c.ledger_bytes) for c in children}
    assert budgets == {(16 * MIB, MIB, MIB)}
