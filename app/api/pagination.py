"""Pages of a listing (metering-semantics §0.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from app.api.query import Query

Item = TypeVar("Item")

PER_PAGE = 100


@dataclass(frozen=True)
class PageRequest:
    """Which page: number from 1, and its size."""

    page: int
    per_page: int

    @classmethod
    def of(cls, query: Query) -> PageRequest:
        return cls(query.positive("page", 1), query.positive("per_page", PER_PAGE))

    @property
    def offset(self) -> int:
        """Items on the pages before."""
        return (self.page - 1) * self.per_page

    def meta(self, total_count: int) -> dict[str, int | None]:
        """The `meta` object; of an empty listing everything is 0, whatever page was asked for.

        A page past the last has no neighbours, as in Lago.
        """
        total_pages = -(-total_count // self.per_page)
        return {
            "current_page": self.page if total_count else 0,
            "next_page": self.page + 1 if self.page < total_pages else None,
            "prev_page": self.page - 1 if 1 < self.page <= total_pages else None,
            "total_pages": total_pages,
            "total_count": total_count,
        }


def listing(
    root: str, items: Sequence[Item], page: PageRequest, to_json: Callable[[Item], Any]
) -> dict[str, Any]:
    """The answer of a collection: the items of one page under `root`, and `meta`."""
    shown = items[page.offset : page.offset + page.per_page]
    return {root: [to_json(item) for item in shown], "meta": page.meta(len(items))}
