"""Vectors of rules that are not built yet: pay in advance, late events of recurring metrics,
breakdowns and others.

Each must fail: whoever builds a rule takes its vectors out of here.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

VECTORS: Final = frozenset[str]()
"""As files, offline."""

REFERENCES: Final = frozenset[str]()
"""The figures beside them."""

LIVE: Final = frozenset[str]()
"""Through a running worker."""


def marks_of(vector_id: str, not_built: frozenset[str]) -> Any:
    """What to mark the test of a vector with."""
    if vector_id in not_built:
        return [pytest.mark.xfail(strict=True, reason="its rule is not built yet")]
    return []
