"""Writing of Lago's objects here: what is equal is not written, what differs only if wished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from app.cli.lago import objects
from app.cli.lago.client import Here, encode
from app.cli.lago.objects import Difference
from app.cli.output import echo
from app.cli.remote import Json, RequestRefused

_CREATED, _EQUAL, _CHANGED = "written", "equal", "changed"
_DIFFERS, REFUSED = "differs", "refused"
Ids = dict[str, dict[str, str]]
"""Lago's ids and ours, by kind."""


class PlacedObject(NamedTuple):
    """One object of Lago, and where it has its place here."""

    kind: str
    name: str
    path: str
    """Where ours is, if it is there."""
    root: str
    body: Json
    """What is written."""
    here: Json | None
    """Ours as it answers; None: it is not there."""
    differs: Callable[[Json], list[Difference]]
    """How ours differs from it."""

    @property
    def told(self) -> str:
        """What it is called."""
        return f"{self.kind} {self.name}".rstrip()


class Taking:
    """Takes objects over, and tells what became of each."""

    def __init__(self, here: Here, ids: Ids, *, dry_run: bool, update: bool) -> None:
        """Note ids in `ids`. `update`: write also what is there and differs."""
        self._here = here
        self.is_dry = dry_run
        """Whether nothing is to be written."""
        self._updates = update
        self._ids = ids
        self._outcomes = Counter[tuple[str, str]]()
        self._left = 0
        """What has no place here."""

    @property
    def unsettled(self) -> bool:
        """Whether something differs still, or was refused."""
        return any(outcome in (_DIFFERS, REFUSED) for _, outcome in self._outcomes)

    def take(self, one: PlacedObject, update: bool = False) -> Json | None:
        """Write an object if it has to be; return ours, None if it is not there."""
        found = [] if one.here is None else one.differs(one.here)
        if one.here is not None and not found:
            self.count(one.kind, _EQUAL)
            return one.here
        echo(f"{'+' if one.here is None else '~'} {one.told}")
        _tell(found)
        if one.here is not None and not (self._updates or update):
            self.count(one.kind, _DIFFERS)
            return one.here
        if self.is_dry:
            self.count(one.kind, _CREATED if one.here is None else _CHANGED)
            return one.here
        return self._written(one, found)

    def _written(self, one: PlacedObject, found: Sequence[Difference]) -> Json | None:
        try:
            made = self._write(one, found)
        except RequestRefused as refused:
            details = refused.details()
            echo(f"x {one.told}: {refused.message} {_text(details) if details else ''}".rstrip())
            self.count(one.kind, REFUSED)
            return one.here
        left = one.differs(made)
        if left:
            echo(f"~ {one.told} was written, and still differs")
            _tell(left)
            self.count(one.kind, _DIFFERS)
        else:
            self.count(one.kind, _CREATED if one.here is None else _CHANGED)
        return made

    def _write(self, one: PlacedObject, found: Sequence[Difference]) -> Json:
        collection = one.path.partition("?")[0].rpartition("/")[0]
        body = {one.root: one.body}
        # A customer is changed as it is made, and so is the plan of a subscription.
        moves = one.kind == "customer" or any(each.field == "plan_code" for each in found)
        if one.here is None or moves:
            made: Json = self._here.write("POST", collection, body)[one.root]
        else:
            made = self._here.write("PUT", one.path, body)[one.root]
        if one.body.get("on_termination_invoice") == "skip":
            # Only a change takes it.
            end = {one.root: {"on_termination_invoice": "skip"}}
            made = self._here.write("PUT", one.path, end)[one.root]
        return made

    def without_place(self, kind: str, name: str, item: Json) -> None:
        """Tell what of an object has no place here."""
        for words in objects.without_place(kind, item):
            self.leave(f"{kind} {name}", words)

    def leave(self, told: str, words: str) -> None:
        """Tell of something that has no place here."""
        self._left += 1
        echo(f"! {told}: no place here for {words}")

    def identify(self, kind: str, theirs: Json, ours: Json | None) -> None:
        """Note which id of ours stands for one of Lago's."""
        if ours is not None and theirs.get("lago_id"):
            self._ids.setdefault(kind, {})[str(theirs["lago_id"])] = str(ours["lago_id"])

    def count(self, kind: str, outcome: str) -> None:
        """Count what became of an object."""
        self._outcomes[kind, outcome] += 1

    def summary(self) -> str:
        """Return the last line: what became of each kind of objects."""
        return "; ".join([*_parts(self._outcomes, self.is_dry), f"{self._left} left out"])


def _parts(outcomes: Mapping[tuple[str, str], int], dry_run: bool) -> list[str]:
    words: dict[str, list[str]] = {}
    for (kind, outcome), count in outcomes.items():
        planned = "to be " if dry_run and outcome in (_CREATED, _CHANGED) else ""
        words.setdefault(kind, []).append(f"{count} {planned}{outcome}")
    return [f"{kind}: {', '.join(each)}" for kind, each in words.items()]


def _tell(found: Sequence[Difference]) -> None:
    for each in found:
        echo(f"    {each.field}: {_text(each.lago)} in Lago, {_text(each.here)} here")


def _text(value: Any) -> str:
    return encode(value).decode()
