"""Requests of Lago's documentation, as curl sends them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def metric_bodies() -> list[dict[str, Any]]:
    """Bodies of the requests that make metrics."""
    text = (Path(__file__).parent / "billable_metrics.sh").read_text()
    return [json.loads(body) for body in re.findall(r"--data-raw '(.*?)'", text, re.DOTALL)]
