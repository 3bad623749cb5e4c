"""`python -m tests.app.kernel.sanitized [--leaks] TEST…`: play tests with a kernel that is watched.

Each access of its C to memory is looked at, and all else that C leaves undefined; with `--leaks`
also what it loses. It needs gcc with its sanitizers. As a plugin of pytest it puts such a kernel in
the place of the tree's.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.app.kernel.runs import ROOT, compiled_into

COMPILER = "gcc -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
LIBRARIES = ("libasan.so", "libubsan.so")
KERNEL = "METER_SANITIZED_KERNEL"
"""Where the plugin finds the kernel."""
NOTHING = 77
"""Exit status where nothing was played: pytest has none of that number."""
_WRONG = "ERROR: AddressSanitizer"
_LOST = re.compile(r"(?:Direct|Indirect) leak of .*?(?:\n\n|\Z)", re.DOTALL)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Load the kernel before anything asks for the tree's."""
    name = "app.kernel._kernel"
    spec = importlib.util.spec_from_file_location(name, os.environ[KERNEL])
    assert spec is not None
    assert spec.loader is not None
    kernel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernel)
    sys.modules[name] = kernel


def main() -> int:
    """Exit status of the tests; 1 as well for what leaks."""
    parser = argparse.ArgumentParser(prog="python -m tests.app.kernel.sanitized")
    parser.add_argument("--leaks", action="store_true", help="takes many times as long")
    options, tests = parser.parse_known_args()
    libraries = [_library(name) for name in LIBRARIES]
    if None in libraries:
        sys.stderr.write("NOTHING WAS LOOKED AT: gcc is not here, or not its sanitizers.\n")
        return NOTHING
    with tempfile.TemporaryDirectory() as directory:
        os.environ["CC"] = COMPILER
        kernel = compiled_into(Path(directory))
        if kernel is None:
            return NOTHING
        told = Path(directory) / "told"
        asan = f"detect_leaks={int(options.leaks)}:allocator_may_return_null=1:log_path={told}"
        if options.leaks:
            # The interpreter has no frame pointers by which the stack of an object could be walked.
            # Whoever would look up lines for it is watched as well, and loses something itself.
            asan += ":fast_unwind_on_malloc=0:malloc_context_size=16:exitcode=0:symbolize=0"
        environment = {
            **os.environ,
            KERNEL: str(kernel),
            "LD_PRELOAD": " ".join(map(str, libraries)),
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": asan,
            "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={told}",
        }
        plugins = ("-p", "tests.app.kernel.sanitized", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, *tests]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        found = "".join(each.read_text() for each in Path(directory).glob("told.*"))
        if options.leaks:
            # What Python itself does not give back at its end is no concern of ours.
            lost = [each for each in _LOST.findall(found) if kernel.name in each]
            # What is wrong otherwise ends it with the status that leaks have here, too.
            others = found if _WRONG in found else ""
            found = others + "".join(_placed(each, kernel) for each in lost)
            code = code or bool(found)
    sys.stderr.write(found)
    return code


def _placed(told: str, kernel: Path) -> str:
    """Return what is told of a stack, with lines of the source for places in the kernel."""
    at = re.compile(rf"\(\S*{re.escape(kernel.name)}\+(0x[0-9a-f]+)\)")
    words = ["addr2line", "-s", "-e", str(kernel), *at.findall(told)]
    lines = iter(
        subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")
    )
    return at.sub(lambda _: next(lines), told)


def _library(name: str) -> str | None:
    """Return where gcc has a library."""
    try:
        asked = subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    path = asked.stdout.strip()
    return path if os.path.isabs(path) else None


if __name__ == "__main__":
    sys.exit(main())
