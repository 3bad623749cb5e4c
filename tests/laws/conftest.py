"""Laws hold whether it is noted which cells change or not; here it is, however few they are."""

from __future__ import annotations

from tests.world.noting import all_noted

__all__ = ["all_noted"]
