"""Run the contest: every contestant on every load, so many rounds, the order turned each round.

python -m bench.contest [--events N] [--rounds N] [--loads A,B] [--contestants A,B]
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import uvloop

from bench.contest.arena import Arena, Wrong, arena, broker
from bench.contest.contestants import CONTESTANTS, OURS, Contestant, require_closed
from bench.contest.loads import LOADS
from bench.contest.results import LoadResults, Results, Series, machine, write
from bench.contest.tools import ROOT, Missing


def _names(known: dict[str, object]) -> click.ParamType:
    class Names(click.ParamType):
        name = ",".join(known)

        def convert(
            self, value: str, param: click.Parameter | None, ctx: click.Context | None
        ) -> list[str]:
            asked = value.split(",")
            unknown = [name for name in asked if name not in known]
            if unknown:
                self.fail(f"{', '.join(unknown)}: there is {', '.join(known)}", param, ctx)
            return asked

    return Names()


@click.command()
@click.option("--events", default=1_000_000, show_default=True, help="Records of each load.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--loads", type=_names({**LOADS}), default=",".join(LOADS), show_default=True)
@click.option(
    "--contestants", type=_names({**CONTESTANTS}), default=",".join(CONTESTANTS), show_default=True
)
@click.option("--note", default="", help="A sentence for the table.")
@click.option("--profile", is_flag=True, help="Print where the CPU of ours goes; nothing is kept.")
@click.option("--write/--no-write", "writing", default=True, help="Write results, table and plot.")
def main(
    events: int,
    rounds: int,
    loads: list[str],
    contestants: list[str],
    note: str,
    profile: bool,
    writing: bool,
) -> None:
    """Measure all contestants in one run."""
    results = Results(machine(), events, rounds, note, {})

    def keep() -> None:
        for path in write(results) if writing and not profile else ():
            click.echo(f"written: {path.relative_to(ROOT)}")

    uvloop.run(contest(results, loads, contestants, profile, keep))


async def contest(
    results: Results,
    loads: list[str],
    contestants: list[str],
    profile: bool,
    keep: Callable[[], None],
) -> None:
    """Add to the results what each contestant needed of each load, and have each load kept."""
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as directory:
        async with broker(Path(directory) / "kafka") as kafka:
            for load in (LOADS[name] for name in loads):
                series = {name: Series() for name in contestants}
                date = datetime.now(UTC).date().isoformat()
                told = LoadResults(date, load.subscriptions, load.words, series)
                async with arena(kafka, load, results.events, profile) as here:
                    turning = deque(contestants)
                    for turn in range(results.rounds):
                        for name in turning:
                            if turn and CONTESTANTS[name].slow:
                                continue
                            run = f"{load.name}-{turn}-{name}"
                            await _take(CONTESTANTS[name], here, run, series[name])
                            await here.sweep(run)
                        turning.rotate(-1)
                    await _close(here, {name: series[name] for name in OURS if name in series})
                results.loads[load.name] = told
                keep()


async def _close(here: Arena, series: Mapping[str, Series]) -> None:
    """Look at the records of ours: if they are wrong, no figure of ours counts."""
    if not any(each.figures for each in series.values()):
        return
    try:
        await require_closed(here, f"{here.load.name}-closing")
        click.echo(f"{here.load.name}: ours closed the month, and its records are right")
    except Wrong as error:
        for each in series.values():
            each.wrong = str(error)
        click.secho(f"{here.load.name}: WRONG, so ours has no figure: {error}", err=True, bold=True)


async def _take(contestant: Contestant, here: Arena, run: str, series: Series) -> None:
    if series.wrong or series.skipped:
        return
    began_s = time.monotonic()
    try:
        figures = await contestant.take(here, run)
    except Missing as error:
        series.skipped = str(error)
        click.secho(f"{run}: SKIPPED: {error}", err=True, bold=True)
    except Wrong as error:
        series.wrong = str(error)
        click.secho(f"{run}: WRONG, so it has no figure: {error}", err=True, bold=True)
    else:
        series.runs.append(figures)
        click.echo(
            f"{run:32} {figures.events_per_s:10,.0f} events/s {figures.cpu_us:7.2f} µs CPU an event"
            f" {figures.rss_mb:7,.0f} MB   ({time.monotonic() - began_s:.0f} s in all)"
        )


if __name__ == "__main__":
    # Each topic is new, and its first request comes before its leader.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    main()
