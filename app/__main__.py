"""`python -m meterstream`, and in a checkout `python -m app`: the same as `meter`."""

from __future__ import annotations

from app.cli.entry import meter

if __name__ == "__main__":
    meter()
