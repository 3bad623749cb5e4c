"""How much of an organization is folded again at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from app.bounds.turns import STEP_ITEMS, Steps, T
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import SubscriptionKey

PAIRS_AT_ONCE = 20_000
"""Pairs whose shadow cells are in memory together."""


def counting(
    owned: OwnedPartition, organization_id: str, codes: Container[str] | None = None
) -> Steps[list[tuple[SubscriptionKey, int]]]:
    """List an organization's subscriptions with events, each with the number of its meter keys.

    `codes`: only meter keys of these count."""
    counted: list[tuple[SubscriptionKey, int]] = []
    for number, (name, known) in enumerate(owned.state.event_ranges.codes.items(), 1):
        if name[0] == organization_id:
            pairs = len(known) if codes is None else sum(code in codes for code in known)
            if pairs or codes is None:
                counted.append((name, pairs))
        if number % STEP_ITEMS == 0:
            yield
    return counted


def chunked(
    counted: Mapping[int, Sequence[tuple[SubscriptionKey, int]]],
) -> Iterator[dict[int, list[SubscriptionKey]]]:
    """Yield names by partition, of about `PAIRS_AT_ONCE` meter keys together; at least one chunk.

    Every chunk but the first leaves out the partitions that are done.
    """
    chunk: dict[int, list[SubscriptionKey]] = {number: [] for number in counted}
    chunk_pairs = 0
    for number, names in counted.items():
        for name, pairs in names:
            if chunk_pairs >= PAIRS_AT_ONCE:
                yield chunk
                chunk, chunk_pairs = {}, 0
            chunk.setdefault(number, []).append(name)
            chunk_pairs += pairs
    yield chunk


def some_of(more: Iterator[T | None], most: int) -> Steps[list[T]]:
    """Return the next of many; None is a step on the way to one."""
    found: list[T] = []
    for one in more:
        if one is not None:
            found.append(one)
        if len(found) == most:
            break
        yield
    return found
