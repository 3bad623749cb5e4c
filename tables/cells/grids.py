"""Grids: the instants of grid cuts, as settings change them.

What is appended at a time is decided at the first multiple of close_grid_s at or after it, by the
settings in force then. So a grid has one more cut after the settings that end it.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.definitions.periods import NEVER_MS, ceil_to

Grids = tuple[tuple[int, int], ...]
"""(append time from which it holds, time between two grid cuts in ms), in order."""


def grid_cut(at_ms: int, grids: Grids) -> int:
    """Return the first grid cut at or after an instant, by the settings in force at it."""
    grid_ms = grids[0][1]
    for from_ms, each_ms in grids:
        if from_ms <= at_ms:
            grid_ms = each_ms
    return ceil_to(at_ms, grid_ms)


def same_cut_until(at_ms: int, grids: Grids) -> int:
    """Return the last time that has the same grid cut as a time."""
    cut_ms = grid_cut(at_ms, grids)
    begins = (from_ms - 1 for from_ms, _ in grids if at_ms < from_ms <= cut_ms)
    return min(begins, default=cut_ms)


def grid_cut_after(at_ms: int, grids: Grids) -> int:
    """Return the first grid cut after an instant, of whatever grid."""
    found = NEVER_MS
    for first_ms, last_ms, each_ms in _stretches(grids):
        cut_ms = max(first_ms, at_ms // each_ms * each_ms + each_ms)
        if cut_ms <= last_ms:
            found = min(found, cut_ms)
    return found


def grid_cut_before(at_ms: int, grids: Grids) -> int:
    """Return the last grid cut before an instant, of whatever grid; -1: none."""
    found = -1
    for first_ms, last_ms, each_ms in _stretches(grids):
        cut_ms = min(last_ms, ceil_to(at_ms, each_ms) - each_ms)
        if cut_ms >= first_ms:
            found = max(found, cut_ms)
    return found


def decided_until(cut_ms: int, grids: Grids) -> int:
    """Return until when all that was appended is decided, whatever grid it came under.

    `cut_ms`: of the last cut. One before a history record is on no grid, and decides nothing.
    """
    return min(cut_ms // each_ms * each_ms for _, each_ms in grids)


def told_until(cut_ms: int, grids: Grids) -> int:
    """Return until when definitions are decided at a grid cut, or were at one before it.

    A grid's last cut comes after the settings that end it: they, and what is defined later, are
    decided at the first cut of the next grid.
    """
    begun = (
        from_ms - 1
        for from_ms, each_ms in grids[1:]
        if from_ms <= cut_ms < ceil_to(from_ms, each_ms)
    )
    return min(begun, default=cut_ms)


def _stretches(grids: Grids) -> Iterator[tuple[int, int, int]]:
    """Yield of each grid its first and last cut, and the time between two."""
    for number, (from_ms, each_ms) in enumerate(grids):
        following = grids[number + 1][0] if number + 1 < len(grids) else None
        first_ms = ceil_to(from_ms, each_ms) if number else 0
        yield first_ms, NEVER_MS if following is None else ceil_to(following, each_ms), each_ms
