"""Each part owns its fields, and each suite its tests: what several suites use is the kit's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

OWNERS = ("agents/*.py", "app/runtime/**/*.py")
"""Where it is looked at: the partitions that a worker owns, and the loops beside them."""

VALUES = frozenset({"checkpoint"})
"""A checkpoint is a value: whoever makes the next one writes what stands in it."""

ALLOWED = {
    "app/runtime/partition/careful.py: batch.examined": "a batch tells whether it was examined",
    "app/runtime/ownership.py: self._tally.rebalances": "counted where it happens",
    "app/runtime/restoring/restore.py: state.members.sum": "a restore makes the tables",
    "app/runtime/tasks.py: lost.__cause__": "an exception that is being made",
}
"""What may be assigned from outside, with the reason."""

KIT = "world"
"""The folder of tests that every suite may import."""

LENT = {
    ("agents", "simulation"): "a loop whose time is only counted plays tests of times",
    ("app", "conformance"): "vectors are facts; the mirror of a module checks those of its module",
    ("docs", "deploy"): "the series of a worker are facts; the reference lists them",
    ("deploy", "rules"): "the golden log is a fact; the wheel folds it to the same bytes",
    ("upgrade", "simulation"): "kept state is a fact; simulated workers go on with it",
}
"""Suites that import another one, with the reason."""

NEEDS_SERVERS = (
    "tests.world.live",
    "app.local_servers",
    "app.kafka",
    "app.main",
    "aiohttp",
    "aiokafka.AIOKafkaConsumer",
    "aiokafka.AIOKafkaProducer",
)
"""What the kit has under `live` only: the rest of it serves tests without servers."""


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield every attribute that is assigned or deleted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node


def own_attributes(tree: ast.AST) -> set[str]:
    """Return the attributes that classes of a module give their own objects."""
    found = {target.attr for target in assigned(tree) if ast.unparse(target.value) == "self"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
            found |= {ast.unparse(field) for field in fields}
    return found


def foreign(source: str) -> list[str]:
    """Return the assignments to attributes of objects that other modules define."""
    tree = ast.parse(source)
    own = own_attributes(tree)
    return [
        ast.unparse(target)
        for target in assigned(tree)
        if ast.unparse(target.value) != "self"
        and target.attr not in own
        and ast.unparse(target.value).rpartition(".")[2] not in VALUES
    ]


def found() -> set[str]:
    """Return every assignment to another module's object, by the path of the module."""
    paths = [path for pattern in OWNERS for path in ROOT.glob(pattern)]
    return {
        f"{path.relative_to(ROOT)}: {target}"
        for path in paths
        for target in foreign(path.read_text())
    }


def test_nobody_assigns_fields_of_another_part() -> None:
    assert found() - ALLOWED.keys() == set()


def test_what_is_allowed_is_still_done() -> None:
    assert ALLOWED.keys() - found() == set()


def modules(folder: str) -> dict[PurePosixPath, str]:
    """Return the text of every module of a folder of the repository, by its path."""
    return {
        PurePosixPath(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imported(source: str) -> Iterator[str]:
    """Yield every module that is imported, and every name of one as if it were a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def borrowed(source: str, at: PurePosixPath) -> set[tuple[str, str]]:
    """Return (suite, other suite) for all that a module of tests imports of others but the kit."""
    own = at.parts[1]
    found = (each.split(".")[1] for each in imported(source) if each.startswith("tests."))
    return {(own, other) for other in found if other not in (own, KIT)}


def lending() -> dict[PurePosixPath, set[tuple[str, str]]]:
    """Return what each module of tests imports of other suites."""
    found = {at: borrowed(source, at) for at, source in modules("tests").items()}
    return {at: suites for at, suites in found.items() if suites}


def test_a_suite_imports_the_kit_and_its_own_folder_only() -> None:
    found = {at: suites - LENT.keys() for at, suites in lending().items()}
    assert {at: suites for at, suites in found.items() if suites} == {}


def test_what_is_lent_is_still_used() -> None:
    assert LENT.keys() - set().union(*lending().values()) == set()


def test_the_kit_needs_servers_under_live_only() -> None:
    found = {
        (at, each)
        for at, source in modules("tests/world").items()
        if at.parts[2] != "live"
        for each in imported(source)
        if f"{each}.".startswith(tuple(f"{name}." for name in NEEDS_SERVERS))
    }
    assert found == set()
