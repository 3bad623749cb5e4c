"""The live fixtures; workers of faults are processes of their own."""

from tests.live.conftest import live_settings

__all__ = ["live_settings"]
