"""Builds the wheel, of the standard library alone, so that it needs no network.

In the tree the product is the folders `app`, `agents` and `tables`: names that other projects have
too. In the wheel they are `meterstream`, `meterstream.agents` and `meterstream.tables`. Of a module
only its import statements are rewritten, each in its own line: tracebacks keep their numbers. An
editable install leads to the tree as it is. The hooks are those of PEP 517 and PEP 660.
"""

from __future__ import annotations

import ast
import base64
import gzip
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKED = {"app": "meterstream", "agents": "meterstream.agents", "tables": "meterstream.tables"}
"""What a folder of the tree is called in the wheel."""

BESIDE = ("CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "SECURITY.md", "constraints.txt")
_FIRST = re.compile(rf"(from|import)(\s+)({'|'.join(PACKED)})\b(?!\s*=)")
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
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path


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


def _information(scripts: Mapping[str, str]) -> Files:
    """Return the files of `dist-info` but its record."""
    project, folder = _project(), f"{_stem()}.dist-info"
    lines = "".join(f"{name} = {place}\n" for name, place in scripts.items())
    tag = "Wheel-Version: 1.0\nGenerator: meterstream\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return {
        f"{folder}/METADATA": metadata(),
        f"{folder}/WHEEL": tag.encode(),
        f"{folder}/entry_points.txt": f"[console_scripts]\n{lines}".encode(),
        **{f"{folder}/licenses/{n}": (ROOT / n).read_bytes() for n in project["license-files"]},
    }


def _stem() -> str:
    project = _project()
    return f"{project['name']}-{project['version']}"


def _write_wheel(directory: str, files: Files) -> str:
    record = f"{_stem()}.dist-info/RECORD"
    lines = [f"{place},sha256={_digest(data)},{len(data)}" for place, data in files.items()]
    packed = {**files, record: "\n".join([*lines, f"{record},,", ""]).encode()}
    name = f"{_stem()}-py3-none-any.whl"
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
    """Build the wheel and return its name."""
    places = _project()["scripts"].items()
    scripts = {name: re.sub(r"^app\b", PACKED["app"], place) for name, place in places}
    return _write_wheel(wheel_directory, {**product(), **_information(scripts)})


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that leads to the tree and return its name."""
    path = {f"{_project()['name']}.pth": f"{ROOT}\n".encode()}
    return _write_wheel(wheel_directory, {**path, **_information(_project()["scripts"])})


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build the archive of the sources that a wheel is made of and return its name."""
    folders = [path for folder in (*PACKED, "deploy") for path in _files_of(folder)]
    files = {f"{path.relative_to(ROOT)}": path.read_bytes() for path in folders}
    files |= {name: (ROOT / name).read_bytes() for name in ("pyproject.toml", *BESIDE)}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for place, data in {"PKG-INFO": metadata(), **files}.items():
            entry = tarfile.TarInfo(f"{_stem()}/{place}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    name = f"{_stem()}.tar.gz"
    (Path(sdist_directory) / name).write_bytes(gzip.compress(written.getvalue(), mtime=0))
    return name
