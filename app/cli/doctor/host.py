"""Checks of this machine: disk, open files, cores and memory."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from app.cli.doctor.finding import Finding, judged
from app.runtime.local_state import LOCK_NAME
from app.settings import Settings

AREA = "host"
CHECKS: Final = tuple(
    (AREA, name)
    for name in ("disk", "speed", "state directory", "open files", "memory", "cores", "clock")
)
LEAST_FREE_BYTES: Final = 5_000_000_000
SLOW_WRITE_S: Final = 0.1
_WRITES: Final = 5
_WRITTEN_BYTES: Final = 65_536
LEAST_FILES: Final = 4_096
LEAST_MEMORY_BYTES: Final = 1_000_000_000
_LOCKS: Final = Path("/proc/locks")
_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")


def checked(settings: Settings) -> Iterator[Finding]:
    """Yield what this machine has for a worker."""
    yield _disk(settings.state_dir)
    yield _speed(settings.state_dir)
    yield _shared(settings.state_dir)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found, mend = (
        f"A process may open {files:,}.",
        f"`ulimit -n {LEAST_FILES}`, or LimitNOFILE of the unit.",
    )
    yield judged(AREA, "open files", files < LEAST_FILES, found, mend)
    yield _memory()
    yield Finding(AREA, "cores", "ok", f"{len(os.sched_getaffinity(0))} for this process.")


def _there(directory: Path) -> Path:
    """Return the directory, or the nearest above it that is there."""
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def _speed(directory: Path) -> Finding:
    """Return how long the slowest of some small writes took; nothing of them is left."""
    there, slowest_s = _there(directory), 0.0
    try:
        with TemporaryFile(dir=there) as file:
            for _ in range(_WRITES):
                began_s = time.monotonic()
                file.write(bytes(_WRITTEN_BYTES))
                file.flush()
                os.fsync(file.fileno())
                slowest_s = max(slowest_s, time.monotonic() - began_s)
    except OSError as error:
        found = f"Nothing can be written to {there} ({error.strerror})."
        return Finding(AREA, "speed", "unknown", found, "Let this user write there.")
    found = f"Of {_WRITES} small writes the slowest took {1000 * slowest_s:.0f} ms."
    mend = "Set METER_STATE_DIR to a local disk."
    return judged(AREA, "speed", slowest_s > SLOW_WRITE_S, found, mend)


def _disk(directory: Path) -> Finding:
    there = _there(directory)
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        mend = f"Let this user write to {there}, or set METER_STATE_DIR."
        return Finding(AREA, "disk", "fail", f"{there} cannot be written.", mend)
    found = f"{free:,} bytes are free below {there}."
    mend = "Make room, or set METER_STATE_DIR elsewhere: a full disk stops a worker."
    return judged(AREA, "disk", free < LEAST_FREE_BYTES, found, mend)


def _shared(directory: Path) -> Finding:
    """Return whether a second worker came to the directory; nothing is locked to find out."""
    try:
        locks = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        found, mend = f"Nobody tells who uses {directory}.", "Look at METER_STATE_DIR of each."
        return Finding(AREA, "state directory", "unknown", found, mend)
    held = {lock[5].rpartition(":")[2] for lock in locks if lock[1] == "FLOCK"}

    def is_held(file: Path) -> bool:
        return file.exists() and str(file.stat().st_ino) in held

    # Processes of one worker have directories below it as well, but leave it itself alone.
    workers = int(is_held(directory / LOCK_NAME))
    workers += workers and sum(map(is_held, directory.glob(f"*/{LOCK_NAME}")))
    found = f"{workers} worker(s) of this machine began with {directory} itself."
    mend = "Give each a METER_STATE_DIR of its own: else a start may find another's files."
    return judged(AREA, "state directory", workers > 1, found, mend)


def _memory() -> Finding:
    allowed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = _CGROUP.read_text().strip()
        allowed = min(allowed, int(text)) if text != "max" else allowed
    except (OSError, ValueError):
        pass
    found = f"{allowed:,} bytes for this process."
    return judged(
        AREA, "memory", allowed < LEAST_MEMORY_BYTES, found, "A worker wants 1 GB or more."
    )
