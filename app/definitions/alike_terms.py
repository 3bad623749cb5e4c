"""Terms: what definitions say of a subscription's periods, and those that very many have alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, overload

from app.billing_periods.grid import PeriodGrid
from app.definitions.model import Subscription


class Terms(NamedTuple):
    """What the definitions at one moment say about a subscription's periods."""

    since_ms: int
    """Append time from which they hold."""
    subscription: Subscription
    grid: PeriodGrid
    grace_ms: int
    close_grid_ms: int
    late_window_ms: int
    close_elapsed: bool
    refuses_late: bool
    revise_every_ms: int
    max_groups: int
    fold_version: int
    end_rules: int


Changes: TypeAlias = Sequence[tuple[int, tuple[Any, ...]]]
"""Append time, and all of the terms from their grid on."""


def moves(grids: Iterable[PeriodGrid]) -> bool:
    """Return whether the timezone changes from one grid to another."""
    return len({grid.timezone for grid in grids}) > 1


class Told:
    """Each change of some terms, but for the subscription: for all who have it alike."""

    __slots__ = ("changes", "moves")

    def __init__(self, changes: Changes):
        self.changes = changes
        self.moves = moves(grid for _, (grid, *_) in changes)
        """Whether the timezone changes."""


FEW: Final = 4
"""As many are made at once: to look at them later takes more."""

# Plain __new__: the generated one costs three times as much.
_new = tuple.__new__


class AlikeTerms(Sequence[Terms]):
    """Terms of one subscription, of which nothing of its own changes.

    Most are never looked at but for the first and the last ones, however often settings changed.
    """

    __slots__ = ("_created_ms", "_made", "_one", "_told")

    def __init__(self, created_ms: int, one: Subscription, told: Told):
        self._created_ms = created_ms
        self._one = one
        self._told = told
        self._made: list[Terms] | None = None
        """All of them, once somebody looked."""

    @property
    def moves(self) -> bool:
        """Whether the timezone changes."""
        return self._told.moves

    def _whole(self) -> list[Terms]:
        if self._made is None:
            self._made = [self._of(change) for change in self._told.changes]
        return self._made

    def _of(self, change: tuple[int, tuple[Any, ...]]) -> Terms:
        at_ms, entry = change
        # The first ones hold since before it was made.
        return _new(Terms, (max(at_ms, self._created_ms), self._one, *entry))

    @overload
    def __getitem__(self, at: int) -> Terms: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Terms]: ...

    def __getitem__(self, at: int | slice) -> Terms | Sequence[Terms]:
        if self._made is None and isinstance(at, int):
            return self._of(self._told.changes[at])
        return self._whole()[at]

    def __len__(self) -> int:
        return len(self._told.changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AlikeTerms | list):
            return NotImplemented
        return self._whole() == list(other)

    __hash__ = None  # type: ignore[assignment]
