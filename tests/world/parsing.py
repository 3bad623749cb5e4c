"""Parsing Python while other tests' garbage waits.

A future that failed and that nobody asked has its traceback printed when it is collected, and to
print one Python 3.11 parses a line of it. Should that happen in the middle of another parse,
CPython loses count of how deep it is: "AST constructor recursion depth mismatch".
"""

from __future__ import annotations

import ast
import gc
from typing import Any, Final

_PARSE: Final = ast.parse


def parse_undisturbed(*args: Any, **named: Any) -> Any:
    """Do `ast.parse`; nothing is collected meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _PARSE(*args, **named)
    finally:
        if was_enabled:
            gc.enable()
