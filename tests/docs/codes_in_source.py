"""The codes that the source answers with, read from its calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANSWERING = ("app/api", "app/definitions")
_CODED = {"forbidden": 0, "not_allowed": 0, "unavailable": 0, "coded": 1, "Rejected": 1}
"""Calls that make an answer, and which argument is its code."""


def answers() -> set[str]:
    """Return the codes of answers."""
    return {code for tree in _trees() for code in _answers(tree)}


def of_fields() -> set[str]:
    """Return the codes of fields in `error_details`."""
    constants = {name: text for tree in _trees() for name, text in _constants(tree)}
    return {code for tree in _trees() for code in _of_fields(tree, constants)}


def _trees() -> Iterator[ast.Module]:
    for folder in ANSWERING:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text())


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = str(getattr(function, "id", None) or getattr(function, "attr", ""))
            yield name, node


def _answers(tree: ast.Module) -> Iterator[str]:
    for name, call in _calls(tree):
        place = _CODED.get(name)
        given = [each.value for each in call.keywords if each.arg == "code"]
        if place is not None and len(call.args) > place:
            given.append(call.args[place])
        elif name not in {"_error", *_CODED}:
            continue
        yield from _texts(given, {})


def _of_fields(tree: ast.Module, constants: dict[str, str]) -> Iterator[str]:
    for name, call in _calls(tree):
        if name == "fail":
            yield from _texts(call.args[1:2], constants)
        if name == "invalid":
            lists = [node for node in ast.walk(call) if isinstance(node, ast.List)]
            yield from _texts([item for each in lists for item in each.elts], constants)
    for node in ast.walk(tree):
        # errors[name] = ["code"]
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.List)
            and isinstance(node.targets[0], ast.Subscript)
        ):
            yield from _texts(node.value.elts, constants)


def _texts(nodes: Iterable[ast.expr], constants: dict[str, str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and node.id in constants:
            yield constants[node.id]
        elif isinstance(node, ast.JoinedStr):
            # What begins it: `limit_is_…_bytes` is known by its first words.
            parts = (str(part.value) for part in node.values if isinstance(part, ast.Constant))
            yield from islice(parts, 1)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                yield target.id, node.value.value
