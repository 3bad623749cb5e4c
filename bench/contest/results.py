"""The results of a contest: the JSON that is kept, and the table and the plot made of it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import psutil
from msgspec.structs import replace

from bench import markdown
from bench.contest.arena import Run
from bench.contest.contestants import CONTESTANTS
from bench.contest.loads import LOADS
from bench.contest.tools import ROOT

RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "bench" / "README.md"
PLOT = ROOT / "docs" / "bench.svg"
BEGIN, END = "<!-- made: begin -->\n", "<!-- made: end -->\n"
READING = "reading"
STREAMS = ("streams-memory", "streams-rocksdb")
COLUMNS = (
    "contestant",
    "its job",
    "events/s (least to most)",
    "CPU an event, µs (least to most)",
    "to reading alone",
    "to Kafka Streams",
    "RSS, MB",
)


class Series(msgspec.Struct):
    """The runs of one contestant on one load, or why it has no figure."""

    runs: list[Run] = []
    wrong: str | None = None
    skipped: str | None = None

    @property
    def figures(self) -> list[Run]:
        """Return the runs that count: none of a contestant that was wrong once."""
        return [] if self.wrong or self.skipped else self.runs

    @property
    def cpu_us(self) -> float | None:
        """Return the median of CPU an event."""
        return median(run.cpu_us for run in self.figures) if self.figures else None


class LoadResults(msgspec.Struct):
    """What one load came to."""

    date: str
    subscriptions: int
    words: str
    contestants: dict[str, Series]


class Results(msgspec.Struct):
    """What contests came to: of each load the last one."""

    machine: str
    events: int
    rounds: int
    note: str
    """What else there is to say, for example that the machine had other work."""
    loads: dict[str, LoadResults]


def machine() -> str:
    """Describe this machine in a line."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = found[1] if found else cpu
    memory_gb = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory_gb:.0f} GB, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def read(path: Path = RESULTS) -> Results:
    """Return the results that are kept."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def joined(results: Results, known: Results) -> Results:
    """Return results with the other loads that were measured before, in the order of `LOADS`.

    None of another machine, or of fewer or more events or rounds.
    """
    like = (results.machine, results.events, results.rounds)
    loads = {**known.loads} if like == (known.machine, known.events, known.rounds) else {}
    loads |= results.loads
    return replace(results, loads={name: loads[name] for name in LOADS if name in loads})


def write(results: Results) -> list[Path]:
    """Keep results beside those of other loads; write table and plot anew."""
    results = joined(results, read())
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    page = PAGE.read_text()
    PAGE.write_text(with_region(page, table(results)))
    PLOT.write_text(plot(results))
    return [RESULTS, PAGE, PLOT]


def with_region(page: str, text: str) -> str:
    """Return a page with another text between the marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{text}{END}{after}"


def region(page: str) -> str:
    """Return what stands between the marks."""
    return page.split(BEGIN)[1].split(END)[0]


def table(results: Results) -> str:
    """Return the tables as Markdown, one a load."""
    rounds = f"{results.rounds} round{'s' if results.rounds > 1 else ''}"
    note = f" {results.note}" if results.note else ""
    said = f"{results.events:,} events a load, {rounds}, {results.machine}.{note}"
    lines = [said, ""]
    for name, load in results.loads.items():
        lines += [
            f"**{name.capitalize()}**, {load.date}: {load.words}.",
            "",
            *markdown.table(COLUMNS, _rows(load)),
            "",
        ]
    return "\n".join(lines)


def _rows(load: LoadResults) -> Iterator[list[str]]:
    bases = (_cpu_us(load, READING), _cpu_us(load, *STREAMS))
    for short, series in load.contestants.items():
        contestant = CONTESTANTS[short]
        yield [contestant.name, contestant.job, *_columns(series, bases)]


def _cpu_us(load: LoadResults, *shorts: str) -> float | None:
    """Return the least median of some contestants: the cheaper one is the measure."""
    found = [load.contestants[short].cpu_us for short in shorts if short in load.contestants]
    return min((each for each in found if each is not None), default=None)


def _columns(series: Series, bases: tuple[float | None, ...]) -> list[str]:
    if series.cpu_us is None:
        why = f"wrong: {series.wrong}" if series.wrong else f"skipped: {series.skipped}"
        return [f"no figure, {why}", "", "", "", ""]
    rates = [run.events_per_s for run in series.figures]
    costs = [run.cpu_us for run in series.figures]
    return [
        f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        f"{median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})",
        *("" if base is None else f"{series.cpu_us / base:.2f}" for base in bases),
        f"{median(run.rss_mb for run in series.figures):,.0f}",
    ]


LEFT, WIDTH, ROW, GAP = 210, 480, 24, 44


class _Bar(NamedTuple):
    name: str
    ours: bool
    cpu_us: float | None
    words: str


def _bars(contestants: Mapping[str, Series]) -> list[_Bar]:
    bars = []
    for short, series in contestants.items():
        words = "wrong" if series.wrong else "skipped"
        if series.cpu_us is not None:
            rate = median(run.events_per_s for run in series.figures)
            words = f"{series.cpu_us:.1f} µs · {rate:,.0f}/s"
        ours = short.startswith("ours")
        bars.append(_Bar(CONTESTANTS[short].name, ours, series.cpu_us, words))
    return bars


def plot(results: Results) -> str:
    """Return the plot as SVG: CPU an event, a block of bars for each load."""
    loads = {name: _bars(load.contestants) for name, load in results.loads.items()}
    most_us = max((bar.cpu_us or 0 for bars in loads.values() for bar in bars), default=0) or 1
    parts, y = [], 56
    for name, bars in loads.items():
        parts.append(f'<text class="b" x="20" y="{y}">{name.capitalize()}</text>')
        for bar in bars:
            y += ROW
            width = round((bar.cpu_us or 0) / most_us * WIDTH, 1)
            parts.append(
                f'<text x="20" y="{y}">{bar.name}</text>'
                f'<rect class="{"ours" if bar.ours else "peer"}" x="{LEFT}" y="{y - 13}" '
                f'width="{width}" height="16" rx="3"/>'
                f'<text class="s" x="{LEFT + width + 8:.1f}" y="{y}">{bar.words}</text>'
            )
        y += GAP
    height = y - GAP + 24
    title = "CPU an event and events a second, less CPU is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 {height}" width="880" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="14" role="img" '
        'aria-labelledby="t d">\n'
        f'<title id="t">{title}</title>\n'
        f'<desc id="d">The same figures as the tables of bench/README.md.</desc>\n'
        "<style>.bg{fill:#fff}.ours{fill:#1a7f37}.peer{fill:#8c959f}text{fill:#1b1f24}"
        ".s{font-size:12px;fill:#59636e}.b{font-weight:600}</style>\n"
        f'<rect class="bg" width="880" height="{height}" rx="10"/>\n'
        f'<text class="s" x="20" y="28">{title} ({results.events:,} events a load)</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
