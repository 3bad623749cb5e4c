"""Daily span: a charge as it folds for its daily records."""

from __future__ import annotations

from app.definitions.periods import NEVER_MS, Period
from tables.cells.cell import Layer, Span


class DailySpan(Span, eq=False):
    """A span whose events count from the cuts of their days on, whenever its periods are due."""

    def layer_of(self, period: Period | None) -> Layer:
        """Return the layer of a period of the span, which nothing revises; None: its history."""
        layer = super().layer_of(period)
        layer.due_at_ms = NEVER_MS
        return layer
