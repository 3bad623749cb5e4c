"""Pages of a listing (metering-semantics §0.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.api.http.query import Query
from app.bounds import limits
from app.bounds.turns import STEP_ITEMS, Steps
from app.meter.listing import Place

Item = TypeVar("Item")

PER_PAGE = 100


@dataclass(frozen=True)
class PageRequest:
    """Which page: number from 1, and its size."""

    page: int
    per_page: int

    @classmethod
    def of(cls, query: Query) -> PageRequest:
        per_page = min(query.positive("per_page", PER_PAGE), limits.PER_PAGE)
        return cls(query.positive("page", 1), per_page)

    @classmethod
    def of_events(cls, query: Query) -> PageRequest:
        """Return what `of` does; with `whole` one page of all that a listing of events shows."""
        return cls(1, limits.LISTED_DEPTH) if query.flag("whole") else cls.of(query)

    def check_depth(self, errors: dict[str, list[str]]) -> None:
        """Note what lies deeper than scans go."""
        if self.offset + self.per_page > limits.LISTED_DEPTH:
            errors["page"] = ["value_is_out_of_range"]

    @property
    def offset(self) -> int:
        """Items on the pages before."""
        return (self.page - 1) * self.per_page

    def meta(self, total_count: int) -> dict[str, int | None]:
        """Return the `meta` object; of an empty listing all is 0, whatever page was asked for.

        A page past the last has one before it, as in Lago, also if that shows nothing.
        """
        total_pages = -(-total_count // self.per_page)
        return {
            "current_page": self.page if total_count else 0,
            "next_page": self.page + 1 if self.page < total_pages else None,
            "prev_page": self.page - 1 if total_count and self.page > 1 else None,
            "total_pages": total_pages,
            "total_count": total_count,
        }


def listing(
    root: str,
    items: Iterable[Item | None],
    page: PageRequest,
    to_json: Callable[[Item], Any],
) -> Steps[dict[str, Any]]:
    """Return the answer of a collection: the items of one page under `root`, and `meta`.

    `items`: newest first, None for what is not listed.
    """
    shown: list[Item] = []
    count = 0
    ends = page.offset + page.per_page
    for number, item in enumerate(items):
        if number % STEP_ITEMS == 0:
            yield
        if item is None:
            continue
        if page.offset <= count < ends:
            shown.append(item)
        count += 1
    return (yield from _answer(root, shown, to_json, page.meta(count)))


def numbered(
    root: str,
    blocks: Iterable[NDArray[np.uint32]],
    page: PageRequest,
    to_json: Callable[[int], Any],
    total_count: int | None = None,
) -> Steps[dict[str, Any]]:
    """Return what `listing` does of objects that have numbers, many at a step.

    Those of other pages are counted: no object is made of them. `total_count`: how many there are,
    where that is known: then nothing after the page is looked at.
    """
    shown: list[int] = []
    count = 0
    ends = page.offset + page.per_page
    for block in blocks:
        shown += block[max(0, page.offset - count) : max(0, ends - count)].tolist()
        count += len(block)
        if total_count is not None and count >= min(ends, total_count):
            break
        yield
    total_count = count if total_count is None else total_count
    return (yield from _answer(root, shown, to_json, page.meta(total_count)))


def _answer(
    root: str, shown: Iterable[Item], to_json: Callable[[Item], Any], meta: object
) -> Steps[dict[str, Any]]:
    made = []
    for item in shown:
        made.append(to_json(item))
        yield
    return {root: made, "meta": meta}


def merged(of_workers: Sequence[Iterable[Place]], page: PageRequest) -> Steps[list[Place]]:
    """Return the places of one page among those of every worker, each in the order of places."""
    listed: list[Place] = []
    for number, place in enumerate(islice(merge(*of_workers), page.offset + page.per_page)):
        if number >= page.offset:
            listed.append(place)
        if number % STEP_ITEMS == 0:
            yield
    return listed
