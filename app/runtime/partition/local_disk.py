"""Local disk of one partition: whether its fold has to stand until it takes more."""

from __future__ import annotations

from app.runtime.context import WorkerContext
from tables.partition.partition import Partition


class LocalDisk:
    """The event index and the figures at rest: memory holds what the disk does not take."""

    def __init__(self, state: Partition, context: WorkerContext):
        self._number = state.number
        self._logs = state.index, state.instants.at_rest
        self._context = context
        self.full: tuple[int, str] | None = None
        """(since when, what is wanted): the fold stands until local disk takes more."""

    def is_lacking(self) -> bool:
        """Return whether memory is used up by what local disk does not take."""
        wanted = sum(each.wanted_disk_bytes for each in self._logs)
        if not wanted:
            self.full = None
        elif self.full is None:
            error = next((each.disk_error for each in self._logs if each.disk_error), None)
            text = (
                f"METER_STATE_DIR ({self._context.settings.state_dir}) takes no more ({error}): "
                f"what is known of events of partition {self._number} wants {wanted} bytes; "
                f"until then it stands"
            )
            self.full = self._context.clock.now_ms(), text
        return bool(wanted)

    def try_again(self) -> None:
        """Write what waits, if local disk takes it now."""
        for each in self._logs:
            each.try_disk_again()
