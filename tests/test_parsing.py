"""Tests that read source are not broken by what another test left behind."""

from __future__ import annotations

import ast
import gc
from pathlib import Path


class Left:
    """Garbage that parses when it is collected, as a traceback does that is printed."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("a = 1")


def test_garbage_does_not_disturb_who_parses() -> None:
    text, before = Path(__file__).read_text(), gc.get_threshold()
    gc.set_threshold(50, 1, 1)
    try:
        for _ in range(200):
            Left()
            ast.parse(text)
    finally:
        gc.set_threshold(*before)
