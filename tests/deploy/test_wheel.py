"""The wheel collides with nobody: all of it is `meterstream`, and it folds the same bytes.

Built and installed without a network into an environment where `app`, `agents` and `tables` are
modules of somebody else that must not be loaded.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from packaging.metadata import Metadata

from tests.rules.golden.digests import known_digests
from tests.rules.golden.folds import LOG

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

FOREIGN = ("app", "agents", "tables")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_LOAD_ALL = """
import importlib, json, pkgutil, sys
import meterstream
names = [found.name for found in pkgutil.walk_packages(meterstream.__path__, "meterstream.")]
for name in names:
    if not name.endswith(".__main__"):
        importlib.import_module(name)
at = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps([names, {name: file for name, file in at.items() if file}]))
"""


@pytest.fixture(scope="module")
def backend() -> Any:
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "deploy/build_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Installed(NamedTuple):
    """An environment with the wheel, and the wheel."""

    python: Path
    wheel: Path

    @property
    def site(self) -> Path:
        """Where its packages are."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.python.parents[1] / "lib" / version / "site-packages"

    def run(self, *words: str) -> bytes:
        """Run Python there, beside the foreign modules, and return what it prints."""
        environment = {"PATH": os.environ["PATH"], "METER_PROFILE": "local"}
        ran = subprocess.run(
            [str(self.python), *words], cwd=self.site, env=environment, capture_output=True
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout


@pytest.fixture(scope="module")
def installed(backend: Any, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel by pip; what it needs is borrowed from where the tests run."""
    at = tmp_path_factory.mktemp("wheel")
    wheel = at / backend.build_wheel(str(at))
    venv.create(at / "environment")
    made = Installed(at / "environment" / "bin" / "python", wheel)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(made.python))
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (made.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name in FOREIGN:
        (made.site / f"{name}.py").write_text("raise RuntimeError('somebody else is loaded')\n")
    return made


def test_every_module_loads_beside_foreign_ones(installed: Installed) -> None:
    names, at = json.loads(installed.run("-c", _LOAD_ALL))
    assert {"meterstream.main", "meterstream.agents.ingest", "meterstream.tables.fold"} <= set(
        names
    )
    assert len(names) > 300
    assert set(FOREIGN).isdisjoint(at)
    package = installed.site / "meterstream"
    outside = {
        name
        for name, file in at.items()
        if name.partition(".")[0] == "meterstream" and not Path(file).is_relative_to(package)
    }
    assert outside == set()
    from_the_tree = {name for name, file in at.items() if Path(file).is_relative_to(ROOT / "app")}
    assert from_the_tree == set()


def test_the_golden_log_folds_to_the_same_bytes(installed: Installed) -> None:
    files = (str(LOG.definitions), str(LOG.events))
    words = ("-m", "meterstream", "fold", *files, "--at", str(LOG.end_ms), "--records-only")
    digest = sha256()
    for record in installed.run(*words).splitlines():
        digest.update(len(record).to_bytes(8, "big") + record)
    assert digest.hexdigest() == known_digests()["offline usage records"]


def test_it_starts_under_both_names(installed: Installed) -> None:
    script = installed.python.with_name("meter")
    by_script = subprocess.run([str(script), "--version"], capture_output=True, check=True).stdout
    assert by_script == installed.run("-m", "meterstream", "--version")
    assert by_script.decode().startswith(f"meter, version {PROJECT['version']} (kernel: ")


def test_the_kernel_is_compiled_into_it_or_it_is_for_every_machine(installed: Installed) -> None:
    says = installed.run("-m", "meterstream", "--version").decode()
    if installed.wheel.name.endswith("py3-none-any.whl"):
        assert "python, for none was compiled" in says
    else:
        assert "compiled)" in says


def test_without_a_kernel_it_is_for_every_machine(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_KERNEL", "python")
    wheel = tmp_path / backend.build_wheel(str(tmp_path))
    assert wheel.name == f"meterstream-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as packed:
        assert not [name for name in packed.namelist() if name.endswith(".so")]


@pytest.mark.parametrize("compiler", ["./no-such-compiler", "false"])
def test_a_machine_without_a_compiler_is_told(
    backend: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    compiler: str,
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("PATH", "/bin" if compiler == "false" else "")
    monkeypatch.setattr(backend.sysconfig, "get_config_var", lambda _: None)
    assert backend.compile_kernel(tmp_path) is None
    assert "The kernel is not compiled, Python does its work" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_consumer_is_type_checked_against_it(installed: Installed, tmp_path: Path) -> None:
    """Types come with the wheel: `py.typed` is there, and a wrong use is an error."""
    consumer = tmp_path / "consumer.py"
    consumer.write_text(
        "from decimal import Decimal\n"
        "from meterstream.records import Change, Ledger, read\n"
        "change: Change | None = Ledger().take(read(b'{}'))\n"
        "right: Decimal = Decimal(0) if change is None else change.delta_units\n"
        "wrong: int = 0 if change is None else change.delta_units\n"
    )
    words = ("-m", "mypy", "--strict", "--no-incremental", "--cache-dir", os.devnull)
    ran = subprocess.run(
        [sys.executable, *words, "--python-executable", str(installed.python), str(consumer)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert re.findall(r"consumer\.py:(\d+): error: (\w+ \w+)", ran.stdout) == [
        ("5", "Incompatible types")
    ], ran.stdout


def test_the_wheel_holds_the_product_and_nothing_else(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        scripts = wheel.read(f"meterstream-{PROJECT['version']}.dist-info/entry_points.txt")
    assert {name.partition("/")[0] for name in names} == {
        "meterstream",
        f"meterstream-{PROJECT['version']}.dist-info",
    }
    expected = ("py.typed", "page/static/page.js", "page/static/vendor/htmx.min.js", "__main__.py")
    assert {f"meterstream/{name}" for name in expected} <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert scripts == b"[console_scripts]\nmeter = meterstream.cli.entry:meter\n"


def test_the_same_tree_gives_the_same_bytes(
    backend: Any, installed: Installed, tmp_path: Path
) -> None:
    again = tmp_path / backend.build_wheel(str(tmp_path))
    assert again.read_bytes() == installed.wheel.read_bytes()


def test_the_metadata_is_valid_and_whole(backend: Any) -> None:
    found = Metadata.from_email(backend.metadata(), validate=True)
    assert (found.name, str(found.version)) == (PROJECT["name"], PROJECT["version"])
    assert found.license_expression == "Apache-2.0"
    assert set(found.provides_extra or []) == set(PROJECT["optional-dependencies"])
    declared = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    assert len(found.requires_dist or []) == sum(map(len, declared))
    of_worker = [each for each in found.requires_dist or [] if 'extra == "local"' in str(each)]
    assert any("python_version < " in str(each) for each in of_worker)


def test_an_editable_install_leads_to_the_tree(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else it compiles the kernel in the tree, which other tests copy meanwhile.
    monkeypatch.setenv("METER_KERNEL", "python")
    with zipfile.ZipFile(tmp_path / backend.build_editable(str(tmp_path))) as wheel:
        assert wheel.read("meterstream.pth").decode() == f"{ROOT}\n"
        scripts = wheel.read(f"meterstream-{PROJECT['version']}.dist-info/entry_points.txt")
    assert scripts == b"[console_scripts]\nmeter = app.cli.entry:meter\n"


@pytest.mark.parametrize(
    ("line", "packed"),
    [
        ("from app.cli.main import cli\n", "from meterstream.cli.main import cli\n"),
        ("from app import page\n", "from meterstream import page\n"),
        (
            "def f():\n    from tables.fold import x\n",
            "def f():\n    from meterstream.tables.fold import x\n",
        ),
        ("import app.kafka.late  # noqa\n", "import meterstream.kafka.late  # noqa\n"),
        ("from agents import ONE, (\n", "from meterstream.agents import ONE, (\n"),
        ("from application import x\n", "from application import x\n"),
        ("from . import app\n", "from . import app\n"),
        ('TEXT = """\nfrom app import x\n"""\n', 'TEXT = """\nfrom app import x\n"""\n'),
        ("import appdirs, tablesort\n", "import appdirs, tablesort\n"),
    ],
)
def test_import_statements_alone_are_rewritten(backend: Any, line: str, packed: str) -> None:
    line, packed = (text.replace("ONE, (\n", "(\n    ONE,\n)\n") for text in (line, packed))
    assert backend.rewritten(line) == packed


def test_two_imports_in_a_line_are_refused(backend: Any) -> None:
    with pytest.raises(ValueError, match="one import a line"):
        backend.rewritten("import app.clock, app.log\n")


_SUSPECT = re.compile(
    r"""["'](app|agents|tables)\.|^\s*import (app|agents|tables)\b""", re.MULTILINE
)
"""What a module must hold to be looked at closely: there are hundreds of them."""


def _named_in_strings(tree: ast.Module) -> list[str]:
    """Return the strings that are names of our modules."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(app|agents|tables)(\.[a-z_]+)+(:\w+)?", node.value)
    ]


def _used_by_attribute(tree: ast.Module) -> list[str]:
    """Return what is taken of a package as its attribute: its name differs in the wheel."""
    bound = {
        (name.asname or name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
        if name.name.partition(".")[0] in FOREIGN and name.asname is None
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in bound
    ]


@pytest.mark.parametrize("folder", FOREIGN)
def test_no_module_goes_by_a_name_that_the_wheel_changes(folder: str) -> None:
    texts = {path: path.read_text() for path in (ROOT / folder).rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items() if _SUSPECT.search(text)}
    found = {
        path.relative_to(ROOT): _named_in_strings(tree) + _used_by_attribute(tree)
        for path, tree in trees.items()
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_such_names_are_found() -> None:
    assert _named_in_strings(ast.parse('import_module("app.cli.usage")')) == ["app.cli.usage"]
    assert _used_by_attribute(ast.parse("import app.log\napp.log.configure()")) == ["app.log"]


def test_no_package_of_app_takes_the_place_of_agents_or_tables() -> None:
    assert not (ROOT / "app" / "agents").exists()
    assert not (ROOT / "app" / "tables").exists()
    assert not (ROOT / "app" / "agents.py").exists()
    assert not (ROOT / "app" / "tables.py").exists()


def test_the_archive_of_the_sources_has_what_its_pages_name(backend: Any, tmp_path: Path) -> None:
    name = backend.build_sdist(str(tmp_path))
    with tarfile.open(tmp_path / name) as archive:
        there = {Path(*Path(each).parts[1:]) for each in archive.getnames()}
    there |= {folder for each in there for folder in each.parents}
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    noticed = re.findall(r"^- (\S+/)(\S+)", (ROOT / "NOTICE").read_text(), re.MULTILINE)
    wanted = {"Makefile", "tests/conftest.py", *linked, *(a + b.rstrip(":,") for a, b in noticed)}
    assert {each for each in wanted if Path(each) not in there} == set()
