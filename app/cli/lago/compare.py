"""`meter compare`: usage in Lago against usage here, figure by figure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_FLOOR, Decimal

import click
import msgspec

from app.cli.failures import DIFFERS, NO_VERDICT
from app.cli.lago.client import Here, Lago, key_of, lago_key_option, progress
from app.cli.lago.comparing import Comparing, Judged, Outcome
from app.cli.lago.deviations import DEVIATIONS
from app.cli.lago.figures import told_part
from app.cli.output import echo, shown_json
from app.cli.remote import Json, remote, remote_options

_SHOWN_EVENTS = 10


def _accepted(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> frozenset[str]:
    wanted = frozenset(name for text in texts for name in text.split(",") if name)
    for name in sorted(wanted - DEVIATIONS.keys()):
        raise click.BadParameter(f"{name!r} is none of {', '.join(DEVIATIONS)}")
    return wanted


@click.command()
@click.option("--lago", "lago_url", metavar="URL", required=True, help="Where Lago answers.")
@lago_key_option
@click.option("--customer", help="Only subscriptions of this external_customer_id.")
@click.option("--sample", type=click.IntRange(1), help="Only so many, taken by chance.")
@click.option("--past", is_flag=True, help="Ended periods, not the running one.")
@click.option(
    "--accept",
    multiple=True,
    callback=_accepted,
    help="Deviations that are known, like D4,D7: what they may explain counts as accepted.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds between two looks at what moves or differs.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="A line for each difference, in words or as JSON.",
)
@remote_options
def compare(
    lago_url: str,
    lago_key_file: str,
    customer: str | None,
    sample: int | None,
    past: bool,
    accept: frozenset[str],
    wait_s: float,
    form: str,
    url: str | None,
    key: str | None,
) -> None:
    """Compare usage of every active subscription in Lago with usage here.

    Exit 1 if something differs, 3 if something could not be compared or never stood still.
    """
    lago, here = Lago(lago_url, key_of(lago_key_file)), Here(remote(url, key))
    query = {"status[]": "active", "external_customer_id": customer}
    theirs = lago.listed("/subscriptions", "subscriptions", query)
    if sample is not None and sample < len(theirs):
        theirs = random.sample(theirs, sample)
    comparing = Comparing(lago, here, past, wait_s)
    summary = _Summary(accept)
    for number, subscription in enumerate(theirs, 1):
        if number % 100 == 0:
            progress(f"{number:,} of {len(theirs):,} subscriptions")
        _tell(summary.take(comparing.outcome(subscription)), form, accept)
    if customer is None and sample is None:
        for outcome in _only_here(here, {str(each["external_id"]) for each in theirs}):
            _tell(summary.take(outcome), form, accept)
    summary.tell(form)
    raise SystemExit(summary.exit_code)


def _only_here(here: Here, in_lago: set[str]) -> Iterator[Outcome]:
    for each in here.listed("/subscriptions", "subscriptions", {"status[]": "active"}):
        if each["external_id"] not in in_lago:
            names = str(each["external_customer_id"]), str(each["external_id"])
            yield Outcome(*names, "not compared", "in Lago: no active subscription of that name")


class _Summary:
    """Counts outcomes for the last line."""

    def __init__(self, accept: frozenset[str]) -> None:
        self._accept = accept
        self._counts = Counter[str]()
        self._agreed = self._total = Decimal(0)
        self._unsaid: set[str] = set()

    def take(self, outcome: Outcome) -> Outcome:
        """Count one; return it."""
        verdict: str = outcome.verdict
        if verdict == "differing" and all(_is_known(d, self._accept) for d in outcome.differences):
            verdict = "accepted"
        self._counts[verdict] += 1
        self._agreed += outcome.agreed[0]
        self._total += outcome.agreed[1]
        self._unsaid |= set(outcome.unsaid)
        return outcome

    @property
    def compared(self) -> int:
        """How many subscriptions were compared to the end."""
        return sum(self._counts[each] for each in ("equal", "differing", "accepted"))

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 says that all were compared and nothing differs."""
        if self._counts["differing"]:
            return DIFFERS
        open_ones = self._counts["moving"] + self._counts["not compared"]
        return NO_VERDICT if open_ones or not self.compared else 0

    def tell(self, form: str) -> None:
        """Print the last line."""
        names = ("equal", "differing", "accepted", "moving", "not compared")
        counts = {name.replace(" ", "_"): self._counts[name] for name in names}
        if form == "jsonl":
            facts = {"type": "summary", "compared": self.compared, **counts}
            units = {"units_agreed": self._agreed, "units_total": self._total}
            _print({**facts, **units, "fields_not_compared": sorted(self._unsaid)})
            return
        for name in sorted(self._unsaid):
            echo(f"{name} was not compared everywhere: Lago does not say it")
        if not self.compared:
            echo("nothing compared")
        words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        echo(f"{self.compared} subscriptions compared: {words}; {self._share()}")

    def _share(self) -> str:
        if not self._total:
            return "no units to agree on"
        # Never rounded up: 100 % says that all of them agree.
        percent = (100 * self._agreed / self._total).quantize(Decimal("0.0001"), ROUND_FLOOR)
        return f"{percent.normalize():f} % of units agree"


def _is_known(judged: Judged, accept: frozenset[str]) -> bool:
    return not accept.isdisjoint(judged.may_be)


def _tell(outcome: Outcome, form: str, accept: frozenset[str]) -> None:
    names = {"customer": outcome.customer, "subscription": outcome.subscription}
    if outcome.verdict in ("moving", "not compared"):
        if form == "jsonl":
            _print({"type": outcome.verdict.replace(" ", "_"), **names, "reason": outcome.reason})
        else:
            reason = f": {outcome.reason}" if outcome.reason else ""
            echo(f"{outcome.verdict} {outcome.subscription} of {outcome.customer}{reason}")
    for judged in outcome.differences:
        if form == "jsonl":
            _print({"type": "difference", **names, **_as_json(judged, accept)})
        else:
            _tell_difference(outcome, judged, accept)


def _tell_difference(outcome: Outcome, judged: Judged, accept: frozenset[str]) -> None:
    found = judged.found
    charge = "" if found.charge is None else f" charge {found.charge.name}"
    part = told_part(found.part)
    echo(
        f"{'accepted' if _is_known(judged, accept) else 'differs'} {outcome.subscription} of "
        f"{outcome.customer}, period from {found.period}{charge}{f' {part}' if part else ''}: "
        f"{found.field} {found.lago} in Lago, {found.here} here"
    )
    events = judged.events
    for words, ids in (
        ("events only in Lago", events.only_lago),
        ("events only here", events.only_here),
        ("events that Lago has otherwise", events.otherwise),
    ):
        if ids:
            more = f" and {len(ids) - _SHOWN_EVENTS} more" if len(ids) > _SHOWN_EVENTS else ""
            echo(f"    {words}: {', '.join(ids[:_SHOWN_EVENTS])}{more}")
    if events.unknown:
        echo(f"    events were not compared: {events.unknown}")
    for name in judged.may_be:
        echo(f"    may be {name}: {DEVIATIONS[name].words}")


def _as_json(judged: Judged, accept: frozenset[str]) -> Json:
    found, events = judged.found, judged.events
    charge = found.charge
    return {
        "period": found.period,
        "charge_code": charge.code if charge else None,
        "billable_metric_code": charge.metric if charge else None,
        "grouped_by": found.part[0] or None,
        "filter": found.part[1] or None,
        "field": found.field,
        "lago": found.lago,
        "here": found.here,
        "events_only_in_lago": events.only_lago,
        "events_only_here": events.only_here,
        "events_otherwise": events.otherwise,
        "events_not_compared": events.unknown or None,
        "may_be": judged.may_be,
        "accepted": _is_known(judged, accept),
    }


def _print(value: Json) -> None:
    echo(shown_json(msgspec.json.encode(value, enc_hook=str).decode()))
