"""What is installed is pinned, and the Makefile says plainly what is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]


def _pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}


def _needed(requirement: Requirement, seen: set[str]) -> set[str]:
    """Canonical names of a requirement and all it needs here."""
    name = canonicalize_name(requirement.name)
    marks = seen | {f"{name}[{extra}]" for extra in requirement.extras} | {name}
    if marks == seen:
        return seen
    for text in requires(name) or []:
        further = Requirement(text)
        extras = ["", *requirement.extras]
        if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
            marks = _needed(further, marks)
    return marks


def test_constraints_are_plain_pins() -> None:
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line), line


def test_everything_that_is_installed_for_us_is_pinned_to_what_is_here() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    direct = [*project["dependencies"], *(each for extra in extras for each in extra)]
    needed: set[str] = set()
    for requirement in map(Requirement, direct):
        ours = requirement.name == project["name"]
        if not ours and (requirement.marker is None or requirement.marker.evaluate()):
            needed = _needed(requirement, needed)
    names = {name for name in needed if "[" not in name}
    pins = _pins()
    assert sorted(names - set(pins)) == []
    assert {n: pins[n] for n in names} == {n: version(n) for n in names}


def test_make_installs_every_extra() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    installed, left = set(), {"test"}
    while left:
        installed |= left
        asked = (Requirement(each) for name in left for each in extras[name])
        left = {e for each in asked if each.name == project["name"] for e in each.extras}
    assert installed == set(extras)
    assert "--editable '.[test]'" in (REPOSITORY / "Makefile").read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def _make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # Under `make test` the outer make's flags would come along, and with them its chatter.
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "PYTEST_ARGS", "DIR", "LIVE")
    environment = {name: text for name, text in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def _program(checkout: Path, name: str, text: str) -> str:
    program = checkout / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return str(program)


def test_an_old_python_is_refused_by_name(checkout: Path) -> None:
    old = _program(
        checkout, "python3.9", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac'
    )
    made = _make(checkout, "run", f"PYTHON={old}")
    assert made.returncode == 2
    assert "Python 3.11 or newer is needed" in made.stdout
    assert "Python 3.9.2" in made.stdout


def test_an_absent_python_is_refused_by_name(checkout: Path) -> None:
    made = _make(checkout, "run", "PYTHON=./no-such-python")
    assert made.returncode == 2
    assert "Python 3.11 or newer is needed" in made.stdout


def test_an_environment_that_is_a_link_is_not_emptied(checkout: Path) -> None:
    kept = checkout / "elsewhere" / "kept"
    kept.parent.mkdir()
    kept.touch()
    (checkout / ".venv").symlink_to(kept.parent)
    emptying = _program(checkout, "python3", f'case "$2" in venv) rm {kept};; esac')
    made = _make(checkout, "setup", f"PYTHON={emptying}")
    assert made.returncode == 2
    assert ".venv is a link" in made.stdout
    assert kept.exists()


def test_a_python_without_ensurepip_is_told_with_the_package(checkout: Path) -> None:
    broken = _program(checkout, "python3", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    made = _make(checkout, "run", f"PYTHON={broken}")
    assert made.returncode == 2
    assert "python3-venv" in made.stdout


@pytest.mark.parametrize(
    ("other_us", "chosen"), [(None, "python3"), (950, "python3"), (800, "second/python3.99")]
)
def test_a_build_of_the_same_version_is_taken_if_it_is_clearly_faster(
    tmp_path: Path, other_us: int | None, chosen: str
) -> None:
    _program(tmp_path, "first/python3", "echo 3.99 1000")
    _program(tmp_path, "first/python3.99", "exit 1")
    _program(tmp_path, "first/python3.98", "echo 3.98 1")
    if other_us is not None:
        _program(tmp_path, "second/python3.99", f"echo 3.99 {other_us}")
    path = f"{tmp_path}/first:{tmp_path}/second:{os.environ['PATH']}"
    script = ["sh", str(REPOSITORY / "deploy" / "fastest-python.sh")]
    found = subprocess.run(script, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == chosen.replace("second/", f"{tmp_path}/second/")


def test_an_absent_or_old_python_is_left_to_be_refused(tmp_path: Path) -> None:
    _program(tmp_path, "python3", "exit 1")
    script = ["sh", str(REPOSITORY / "deploy" / "fastest-python.sh")]
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = subprocess.run(script, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert found.stdout == "python3\n"


def test_a_failing_install_is_told_and_tried_again(checkout: Path) -> None:
    """As without a network: pip ends with an error."""
    _program(checkout, ".venv/bin/python", "echo could not resolve host >&2; exit 1")
    python = _program(checkout, "python3", "exit 0")
    for _ in range(2):
        made = _make(checkout, "run", f"PYTHON={python}")
        assert made.returncode == 2
        assert "needs the network" in made.stdout
        assert "could not resolve host" in made.stderr


def test_set_up_is_done_once(checkout: Path) -> None:
    _program(checkout, ".venv/bin/python", "exit 0")
    _program(checkout, ".venv/bin/meter", 'echo meter "$@"')
    python = _program(checkout, "python3", "exit 0")
    assert "Setting up" in _make(checkout, "run", f"PYTHON={python}").stdout
    again = _make(checkout, "run", "PYTHON=./no-such-python")
    assert again.stdout == "meter up\n"


def test_the_vectors_are_run_by_a_module_of_the_tests(checkout: Path) -> None:
    _program(checkout, ".venv/bin/python", 'echo python "$@"')
    (checkout / ".venv" / ".installed").touch()
    ran = "python -m tests.conformance"
    of_a_directory = _make(checkout, "vectors", "DIR=somewhere", "LIVE=1").stdout
    assert of_a_directory == f"{ran} --live somewhere\n"
    assert _make(checkout, "vectors").stdout == f"{ran} tests/conformance/vectors\n"


def test_help_names_every_target(checkout: Path) -> None:
    named = set(re.findall(r"make (\w+)", _make(checkout).stdout))
    assert named >= {
        "run", "test", "vectors", "lint", "bench", "simulate", "chaos", "clean", "help",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("present", "installs", "installed"),
    [
        pytest.param(["chromium", "node", "redis-server"], True, None, id="nothing missing"),
        pytest.param(["google-chrome"], True, "nodejs redis-server", id="no node"),
        pytest.param([], True, "chromium nodejs redis-server", id="bare machine"),
        pytest.param(["node"], False, "chromium redis-server", id="no right to install"),
    ],
)
def test_ci_puts_in_place_what_is_missing_and_runs_make_test(
    tmp_path: Path, present: list[str], installs: bool, installed: str | None
) -> None:
    (tmp_path / ".ci").mkdir()
    script = Path(shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci"))
    for name in present:
        _program(tmp_path, f"bin/{name}", "exit 0")
    _program(tmp_path, "bin/make", 'echo made "$@" in "$PWD"')
    _program(tmp_path, "bin/id", "echo 0")
    _program(tmp_path, "bin/apt-get", f'echo apt-get "$@" >&2; exit {0 if installs else 100}')
    for name in ("bash", "env", "dirname"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    ran = subprocess.run(
        [str(script)], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == f"made test in {tmp_path}"
    assert (f"Installing {installed} …" in ran.stdout) == (installed is not None)
    assert (f"apt-get install -y -qq {installed}\n" in ran.stderr) == (bool(installed) and installs)
    assert (f"Could not install {installed}" in ran.stderr) == (not installs)
