"""Directories that no other user of the machine reads."""

from __future__ import annotations

import os
from pathlib import Path


def private_directory(directory: Path) -> None:
    """Make it if need be; no other user of the machine reads what is in it. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid == os.getuid():
        directory.chmod(0o700)
