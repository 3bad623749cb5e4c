"""Builds the wheel, of the standard library alone, so that it needs no network.

In the tree the product is the folders `app`, `agents` and `tables`: names that other projects have
too. In the wheel they are `meterstream`, `meterstream.agents` and `meterstream.tables`. Of a module
only its import statements are rewritten, each in its own line: tracebacks keep their numbers. An
editable install leads to the tree as it is. The hooks are those of PEP 517 and PEP 660.

The kernel is compiled where that can be done, also by `python deploy/build_backend.py`. Where it
cannot, or METER_KERNEL=python says so, the product goes on with its twin in Python.
"""

from __future__ import annotations

import ast
import base64
import gzip
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKED = {"app": "meterstream", "agents": "meterstream.agents", "tables": "meterstream.tables"}
"""What a folder of the tree is called in the wheel."""

PURE = "py3-none-any"
"""The tag of a wheel for every machine."""

SOURCES = (*PACKED, "bench", "deploy", "docs", "tests")
BESIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "constraints.txt",
    "docker-compose.yml",
    "pyproject.toml",
)
"""What the archive of the sources has, folders and files."""

_FIRST = re.compile(rf"(from|import)(\s+)({'|'.join(PACKED)})\b(?!\s*=)")
KERNEL = ROOT / "app" / "kernel"
COMPILED = "_kernel.abi3.so"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of each file: the same tree gives the same bytes."""

Settings = Mapping[str, Any] | None
Files = dict[str, bytes]


def rewritten(source: str) -> str:
    """Return a module with the names of the wheel in its import statements."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            line, at = lines[node.lineno - 1], node.col_offset
            named = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if len(named) > 1 and any(name.partition(".")[0] in PACKED for name in named):
                raise ValueError(f"one import a line: {line.strip()}")
            if (found := _FIRST.match(line, at)) and not getattr(node, "level", 0):
                keyword, space, name = found.groups()
                rest = line[found.end() :]
                lines[node.lineno - 1] = f"{line[:at]}{keyword}{space}{PACKED[name]}{rest}"
    return "".join(lines)


def product() -> Files:
    """Return what the wheel installs: each file by its place."""
    files: Files = {}
    for folder, package in PACKED.items():
        for path in _files_of(folder):
            place = f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
            python = path.suffix == ".py"
            files[place] = rewritten(path.read_text()).encode() if python else path.read_bytes()
    return files


def _files_of(folder: str) -> Iterator[Path]:
    for path in sorted((ROOT / folder).rglob("*")):
        passed_over = path.suffix == ".so" or path.name.startswith(".")
        if path.is_file() and "__pycache__" not in path.parts and not passed_over:
            yield path


def compile_kernel(directory: Path) -> Path | None:
    """Compile the kernel into a directory; return None, and say why, where that cannot be done."""
    if os.environ.get("METER_KERNEL") == "python":
        return None
    texts = (path.read_bytes() for path in sorted(KERNEL.glob("*.[ch]")))
    source = sha256(b"".join(texts)).hexdigest()
    compiled = directory / COMPILED
    if compiled.is_file() and source.encode() in compiled.read_bytes():
        return compiled
    asked = (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc")
    compilers = [shlex.split(each) for each in asked if each]
    compiler = next((each for each in compilers if shutil.which(each[0])), ["cc"])
    shared = "-bundle -undefined dynamic_lookup" if sys.platform == "darwin" else "-shared"
    words = [
        *compiler,
        *f"-O3 -fPIC {shared}".split(),
        f'-DSOURCE="{source}"',
        f"-I{sysconfig.get_path('include')}",
        "kernel.c",
    ]
    # What is loaded already stays as it is: another file takes its place.
    with tempfile.TemporaryDirectory(dir=directory) as beside:
        made = Path(beside) / COMPILED
        try:
            ran = subprocess.run(
                [*words, "-o", str(made)], cwd=KERNEL, capture_output=True, text=True
            )
            why = "" if ran.returncode == 0 else (ran.stderr.strip() or "cc").splitlines()[0]
        except OSError as error:
            why = str(error)
        if why:
            sys.stderr.write(f"The kernel is not compiled, Python does its work: {why}\n")
            return None
        os.replace(made, compiled)
    return compiled


def _project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def metadata() -> bytes:
    """Return the core metadata, version 2.4, of what pyproject.toml says."""
    project = _project()
    lines = ["Metadata-Version: 2.4"]
    lines += [f"Name: {project['name']}", f"Version: {project['version']}"]
    lines += [f"Summary: {project['description']}", f"License-Expression: {project['license']}"]
    lines += [f"License-File: {name}" for name in project["license-files"]]
    lines += [f"Author-email: {one['name']} <{one['email']}>" for one in project["authors"]]
    lines += [f"Keywords: {','.join(project['keywords'])}"]
    lines += [f"Classifier: {each}" for each in project["classifiers"]]
    lines += [f"Project-URL: {label}, {url}" for label, url in project["urls"].items()]
    lines += [f"Requires-Python: {project['requires-python']}"]
    lines += [f"Requires-Dist: {each}" for each in project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}"]
        lines += [f"Requires-Dist: {_of_extra(each, extra)}" for each in requirements]
    lines += ["Description-Content-Type: text/markdown", "", (ROOT / project["readme"]).read_text()]
    return "\n".join(lines).encode()


def _of_extra(requirement: str, extra: str) -> str:
    name, _, marker = (part.strip() for part in requirement.partition(";"))
    return f'{name}; {f"({marker}) and " if marker else ""}extra == "{extra}"'


def _information(scripts: Mapping[str, str], tag: str) -> Files:
    """Return the files of `dist-info` but its record."""
    project, folder = _project(), f"{_stem()}.dist-info"
    lines = "".join(f"{name} = {place}\n" for name, place in scripts.items())
    pure = "true" if tag == PURE else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: meterstream\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    return {
        f"{folder}/METADATA": metadata(),
        f"{folder}/WHEEL": wheel.encode(),
        f"{folder}/entry_points.txt": f"[console_scripts]\n{lines}".encode(),
        **{f"{folder}/licenses/{n}": (ROOT / n).read_bytes() for n in project["license-files"]},
    }


def _stem() -> str:
    project = _project()
    return f"{project['name']}-{project['version']}"


def _write_wheel(directory: str, files: Files, tag: str) -> str:
    record = f"{_stem()}.dist-info/RECORD"
    lines = [f"{place},sha256={_digest(data)},{len(data)}" for place, data in files.items()]
    packed = {**files, record: "\n".join([*lines, f"{record},,", ""]).encode()}
    name = f"{_stem()}-{tag}.whl"
    with zipfile.ZipFile(Path(directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for place, data in packed.items():
            entry = zipfile.ZipInfo(place, _EPOCH)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel and return its name; with a compiled kernel it is for machines like this."""
    places = _project()["scripts"].items()
    scripts = {name: re.sub(r"^app\b", PACKED["app"], place) for name, place in places}
    files, tag = product(), PURE
    with tempfile.TemporaryDirectory() as directory:
        if (kernel := compile_kernel(Path(directory))) is not None:
            files[f"{PACKED['app']}/kernel/{COMPILED}"] = kernel.read_bytes()
            tag = f"cp311-abi3-{re.sub('[-.]', '_', sysconfig.get_platform())}"
    return _write_wheel(wheel_directory, {**files, **_information(scripts, tag)}, tag)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that leads to the tree, compile the kernel there and return its name."""
    compile_kernel(KERNEL)
    path = {f"{_project()['name']}.pth": f"{ROOT}\n".encode()}
    files = {**path, **_information(_project()["scripts"], PURE)}
    return _write_wheel(wheel_directory, files, PURE)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build the archive of the sources, tests and pages among them, and return its name."""
    folders = [path for folder in SOURCES for path in _files_of(folder)]
    files = {f"{path.relative_to(ROOT)}": path.read_bytes() for path in folders}
    files |= {name: (ROOT / name).read_bytes() for name in BESIDE}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for place, data in {"PKG-INFO": metadata(), **files}.items():
            entry = tarfile.TarInfo(f"{_stem()}/{place}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    name = f"{_stem()}.tar.gz"
    (Path(sdist_directory) / name).write_bytes(gzip.compress(written.getvalue(), mtime=0))
    return name


if __name__ == "__main__":
    compile_kernel(KERNEL)
