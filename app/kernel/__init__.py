"""The kernel: what each event costs most, compiled from `kernel.c`; in Python where it is not.

Both have the same functions with the same answers, and decide nothing. METER_KERNEL=python uses
the Python ones.
"""

from __future__ import annotations

import os
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType

from app.kernel import twin


def _chosen() -> tuple[ModuleType, str]:
    """Return the module to use, and what it is called."""
    if os.environ.get("METER_KERNEL") == "python":
        return twin, "python, as METER_KERNEL says"
    try:
        compiled = import_module(f"{__name__}._kernel")
    except ImportError:
        return twin, "python, for none was compiled"
    source = Path(__file__).with_name("kernel.c").read_bytes()
    if sha256(source).hexdigest() != compiled.SOURCE:
        return twin, "python, for another source was compiled: run make setup"
    return compiled, "compiled"


chosen, described = _chosen()
learn = chosen.learn
index_rows = chosen.index_rows
read_run = chosen.read_run
