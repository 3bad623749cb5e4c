"""Each part owns its fields: nobody assigns an attribute of another module's object."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

OWNERS = ("agents/*.py", "app/runtime/*.py")
"""Where it is looked at: the partitions that a worker owns, and the loops beside them."""

VALUES = frozenset({"checkpoint"})
"""A checkpoint is a value: whoever makes the next one writes what stands in it."""

ALLOWED = {
    "agents/ingest.py: batch.examined": "a batch carries along whether it was examined",
    "app/runtime/engine.py: self.brokers.seconds": "the engine joins its parts",
    "app/runtime/ownership.py: self._tally.rebalances": "counted where it happens",
    "app/runtime/restore.py: state.members.sum": "a restore makes the tables",
    "app/runtime/tasks.py: lost.__cause__": "an exception that is being made",
    "app/runtime/set_aside.py: newest[home].epoch": "a checkpoint is a value",
}
"""What may be assigned from outside, with the reason."""


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
