"""`meter compare`: usage in Lago against usage here, figure by figure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from math import floor
from typing import Final, cast, get_args

import click
import msgspec

from app.cli.api_keys import key_of_file
from app.cli.exits import DIFFERS, NO_VERDICT
from app.cli.lago.client import Here, Lago, lago_key_option
from app.cli.lago.comparing import ComparedSubscription, Comparing
from app.cli.lago.deviations import DEVIATIONS
from app.cli.lago.telling import Accepted, is_known, objects, rows, words
from app.cli.output import echo, print_json, shown_json
from app.cli.remote import Json, remote, remote_options
from app.cli.rows import Form, Output
from app.cli.words import COUNT, TEXT, WAIT_S
from app.numbers import plain

_NAMES: Final = ("equal", "differing", "accepted", "moving", "not compared")
_PARTS: Final = 10_000
"""Parts of a percent: shares are told with four decimals."""


def _accepted(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Accepted:
    wanted = frozenset(name for text in texts for name in text.split(",") if name)
    for name in sorted(wanted - DEVIATIONS.keys()):
        raise click.BadParameter(f"{name!r} is none of {', '.join(DEVIATIONS)}")
    return wanted


@click.command()
@click.option(
    "--lago", "lago_url", type=TEXT, metavar="URL", required=True, help="Where Lago answers."
)
@lago_key_option
@click.option("--customer", type=TEXT, help="Only subscriptions of this external_customer_id.")
@click.option("--sample", type=COUNT, help="Only so many, taken by chance.")
@click.option("--past", is_flag=True, help="Ended periods, not the running one.")
@click.option(
    "--accept",
    type=TEXT,
    multiple=True,
    callback=_accepted,
    help="Deviations that are known, like D4,D7: what they may explain counts as accepted.",
)
@click.option(
    "--wait",
    "wait_s",
    type=WAIT_S,
    default=2.0,
    show_default=True,
    help="Seconds between two looks at what moves or differs.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", *get_args(Form)]),
    default="text",
    show_default=True,
    help="Words; JSON with the sum at its end; or rows, with the sum on standard error.",
)
@remote_options
def compare(
    lago_url: str,
    lago_key_file: str,
    customer: str | None,
    sample: int | None,
    past: bool,
    accept: Accepted,
    wait_s: float,
    form: str,
    url: str | None,
    key: str | None,
) -> None:
    """Compare usage of every active subscription in Lago with usage here.

    Exit 1 if something differs, 3 if something could not be compared or never stood still.
    """
    lago, here = Lago(lago_url, key_of_file(lago_key_file)), Here(remote(url, key))
    query = {"status[]": "active", "external_customer_id": customer}
    theirs = lago.listed("/subscriptions", "subscriptions", query)
    names = {str(each["external_id"]) for each in theirs}
    is_all = customer is None and sample is None
    if sample is not None and sample < len(theirs):
        theirs = random.sample(theirs, sample)
    summary = _Summary(accept)
    found: Iterable[ComparedSubscription] = _outcomes(Comparing(lago, here, past, wait_s), theirs)
    if is_all:
        found = chain(found, _only_here(here, names))
    _tell(map(summary.take, found), form, accept)
    summary.tell(form)
    raise SystemExit(summary.exit_code)


def _outcomes(comparing: Comparing, theirs: list[Json]) -> Iterator[ComparedSubscription]:
    for number, subscription in enumerate(theirs, 1):
        if number % 100 == 0:
            echo(f"{number:,} of {len(theirs):,} subscriptions", err=True)
        yield comparing.outcome(subscription)


def _only_here(here: Here, in_lago: set[str]) -> Iterator[ComparedSubscription]:
    for each in here.listed("/subscriptions", "subscriptions", {"status[]": "active"}):
        if each["external_id"] not in in_lago:
            names = str(each["external_customer_id"]), str(each["external_id"])
            yield ComparedSubscription(
                *names, "not compared", "in Lago: no active subscription of that name"
            )


def _tell(found: Iterable[ComparedSubscription], form: str, accept: Accepted) -> None:
    if form == "text":
        for outcome in found:
            for line in words(outcome, accept):
                echo(line)
    elif form == "jsonl":
        for outcome in found:
            for each in objects(outcome, accept):
                _print(each)
    elif form == "json":
        print_json({"found": [each for outcome in found for each in objects(outcome, accept)]})
    else:
        Output(cast("Form", form)).print_rows(rows(found, accept))


class _Summary:
    """Counts outcomes for the last line."""

    def __init__(self, accept: Accepted) -> None:
        self._accept = accept
        self._counts = Counter[str]()
        self._agreed = self._total = Fraction(0)
        self._unsaid: set[str] = set()

    def take(self, outcome: ComparedSubscription) -> ComparedSubscription:
        """Count one; return it."""
        verdict: str = outcome.verdict
        if verdict == "differing" and all(is_known(d, self._accept) for d in outcome.differences):
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
        """Print the last line; where rows are printed, beside them."""
        if form == "jsonl":
            _print({"type": "summary", **self._facts()})
            return
        aside = form != "text"
        for name in sorted(self._unsaid):
            echo(f"{name} was not compared everywhere: Lago does not say it", err=aside)
        if not self.compared:
            echo("nothing compared", err=aside)
        counts = ", ".join(f"{self._counts[name]} {name}" for name in _NAMES)
        echo(f"{self.compared} subscriptions compared: {counts}; {self._share()}", err=aside)

    def _facts(self) -> Json:
        counts = {name.replace(" ", "_"): self._counts[name] for name in _NAMES}
        share = None if self._percent is None else plain(self._percent)
        unsaid = sorted(self._unsaid)
        return {
            "compared": self.compared,
            **counts,
            "units_percent": share,
            "fields_not_compared": unsaid,
        }

    @property
    def _percent(self) -> Decimal | None:
        """The share of units that agree; never rounded up: 100 says that all of them do."""
        if not self._total:
            return None
        return Decimal(floor(100 * _PARTS * self._agreed / self._total)) / _PARTS

    def _share(self) -> str:
        percent = self._percent
        if percent is None:
            return "no units to agree on"
        return f"{plain(percent).removesuffix('.0')} % of units agree"


def _print(value: Json) -> None:
    echo(shown_json(msgspec.json.encode(value, enc_hook=str).decode()))
