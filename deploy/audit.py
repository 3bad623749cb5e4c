"""Known vulnerabilities of the pinned dependencies, and what is to be done about each.

`make audit` runs it. One of a runtime dependency that has a fix fails at once. One without a fix,
and any of a dependency that only tests have, passes for as long as `audit-exceptions.toml` says why
it does not reach us: 30 days at most, then it fails.

    python deploy/audit.py [--report pip-audit.json]
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parent / "constraints.txt"
PROJECT = HERE.parent / "pyproject.toml"
EXCEPTIONS = HERE / "audit-exceptions.toml"
LONGEST = timedelta(days=30)
DISTRIBUTION = "meterstream"

Required = Callable[[str], Iterable[str]]
"""A distribution's requirements that no extra asks for."""


class Found(NamedTuple):
    """One known vulnerability."""

    package: str
    version: str
    id: str
    fixed_in: tuple[str, ...]


class Excepted(NamedTuple):
    """Why one is let pass, and until when."""

    id: str
    why: str
    until: date


def canonical(name: str) -> str:
    """Return the one name of a package that may be spelled in several ways."""
    return re.sub(r"[-_.]+", "-", name).lower()


def found_in(report: Mapping[str, Any]) -> list[Found]:
    """Return what pip-audit reports as JSON. Raises ValueError for what it could not look up."""
    skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    if skipped:
        raise ValueError(f"nothing is known of {', '.join(skipped)}")
    return [
        Found(canonical(each["name"]), each["version"], known["id"], tuple(known["fix_versions"]))
        for each in report["dependencies"]
        for known in each["vulns"]
    ]


def exceptions_in(text: str) -> list[Excepted]:
    """Return the entries of the file: `[[exceptions]]` with id, why and until."""
    return [
        Excepted(entry["id"], entry["why"], entry["until"])
        for entry in tomllib.loads(text).get("exceptions", [])
    ]


def runtime_packages(required: Required) -> set[str]:
    """Return what a worker is installed with, by the declared requirements of each."""
    found: set[str] = set()
    left = [DISTRIBUTION]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(required(name))
    return found


def required_by(name: str) -> list[str]:
    """Return what a package asks for: ours with all extras but the tests'.

    One that is not installed here asks for nothing.
    """
    try:
        wanted = _ours() if name == DISTRIBUTION else requires(name) or []
    except PackageNotFoundError:
        return []
    return [
        canonical(re.split(r"[^A-Za-z0-9._-]", each)[0])
        for each in wanted
        if "extra ==" not in each
    ]


def _ours() -> list[str]:
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    of_extras = (each for name in extras if name != "test" for each in extras[name])
    return [*project["dependencies"], *of_extras]


def objections(
    found: Iterable[Found], excepted: Iterable[Excepted], runtime: set[str], today: date
) -> list[str]:
    """Return what must be done, a line each; none: all is well."""
    by_id = {entry.id: entry for entry in excepted}
    lines = []
    for each in found:
        said = f"{each.package} {each.version}: {each.id}"
        entry = by_id.pop(each.id, None)
        if each.package in runtime and each.fixed_in:
            lines.append(f"{said} is fixed in {', '.join(each.fixed_in)}: take that")
        elif entry is None:
            lines.append(
                f"{said}: say in {EXCEPTIONS.name} why it does not reach us, or replace it"
            )
        elif today > entry.until:
            lines.append(f"{said}: its exception ended on {entry.until}")
        elif entry.until - today > LONGEST:
            lines.append(f"{said}: its exception lasts over {LONGEST.days} days, to {entry.until}")
    lines += [f"{left}: an exception for nothing that is found; remove it" for left in by_id]
    return lines


def _report() -> dict[str, Any]:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS)),
            *("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"),
        ],
        capture_output=True,
        text=True,
    )
    # 1 says that there are some.
    if ran.returncode not in (0, 1) or not ran.stdout:
        raise ValueError(f"pip-audit could not find out: {ran.stderr.strip()[-400:]}")
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def main(arguments: list[str]) -> int:
    """Print what must be done. Exit code 1: something; 2: nobody knows."""
    try:
        given = Path(arguments[1]).read_text() if arguments[:1] == ["--report"] else None
        report = _report() if given is None else json.loads(given)
        found = found_in(report)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    today = datetime.now(UTC).date()
    lines = objections(
        found, exceptions_in(EXCEPTIONS.read_text()), runtime_packages(required_by), today
    )
    count = len(report["dependencies"])
    print("\n".join(lines) or f"{count} pinned packages, {len(found)} let pass")  # noqa: T201
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
