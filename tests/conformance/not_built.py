"""Vectors of rules that are not built yet: pay in advance, late events of recurring metrics,
breakdowns and others.

Each must fail: whoever builds a rule takes its vectors out of here.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

VECTORS: Final = frozenset(
    (
        "breakdown-0002",
        "breakdown-0006",
        "breakdown-0009",
        "breakdown-0010",
        "breakdown-0011",
        "breakdown-0013",
        "breakdown-0039",
        "per-event-0002",
        "per-event-0003",
        "per-event-0005",
        "per-event-0006",
        "per-event-0007",
        "per-event-0009",
        "per-event-0011",
        "per-event-0012",
        "per-event-0013",
        "per-event-0015",
        "per-event-0018",
        "per-event-0022",
        "per-event-0025",
        "per-event-0030",
        "per-event-0032",
        "prorated-unique-count-0039",
    )
)
"""As files, offline."""

REFERENCES: Final = frozenset(("prorated-unique-count-0039",))
"""The figures beside them."""

LIVE: Final = frozenset(
    (
        "pay-in-advance-0027",
        "pay-in-advance-0030",
        "prorated-sum-0003",
    )
)
"""Through a running worker."""


def marks_of(vector_id: str, not_built: frozenset[str]) -> Any:
    """What to mark the test of a vector with."""
    if vector_id in not_built:
        return [pytest.mark.xfail(strict=True, reason="its rule is not built yet")]
    return []
