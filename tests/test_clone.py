"""A clone is complete: its tests read nothing beside it, and its product reads nothing of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("app", "agents", "tables")
BESIDE_IT = ("tests", "bench", "deploy")


def texts(*folders: str) -> dict[str, str]:
    """Return the text of every module in these folders, by its path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def places(source: str, at: PurePosixPath) -> list[PurePosixPath]:
    """Return every path that this module makes of its own `__file__`; `at` is the module's."""
    tree = ast.parse(source)
    known = _names(tree, at)
    found = (_place(node, at, known) for node in ast.walk(tree) if isinstance(node, ast.expr))
    return [place for place in found if place is not None]


def _names(tree: ast.Module, at: PurePosixPath) -> dict[str, PurePosixPath]:
    """Return the names of a module that stand for paths, imported ones included."""
    known: dict[str, PurePosixPath] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            theirs = _names_of(node.module)
            for one in node.names:
                if one.name in theirs:
                    known[one.asname or one.name] = theirs[one.name]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            place = _place(node.value, at, known)
            if place is not None:
                known[node.targets[0].id] = place
    return known


@cache
def _names_of(module: str) -> dict[str, PurePosixPath]:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if not path.exists():
        return {}
    return _names(ast.parse(path.read_text()), PurePosixPath(path.relative_to(ROOT)))


def _place(
    node: ast.expr, at: PurePosixPath, known: dict[str, PurePosixPath]
) -> PurePosixPath | None:
    """Return the path, from the repository's root, that an expression stands for."""
    match node:
        case ast.Name(id="__file__"):
            return at
        case ast.Name(id=name):
            return known.get(name)
        case ast.Call(func=ast.Name(id="Path"), args=[only]):
            return _place(only, at, known)
        case ast.Call(func=ast.Attribute(value=inner, attr="resolve" | "absolute")):
            return _place(inner, at, known)
        case ast.Call(func=ast.Attribute(attr="dirname"), args=[only]):
            return _up(_place(only, at, known), 1)
        case ast.Attribute(value=inner, attr="parent"):
            return _up(_place(inner, at, known), 1)
        case ast.Subscript(
            value=ast.Attribute(value=inner, attr="parents"), slice=ast.Constant(value=int(levels))
        ):
            return _up(_place(inner, at, known), levels + 1)
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Constant(value=str(text))):
            place = _place(left, at, known)
            for part in PurePosixPath(text).parts:
                place = _up(place, 1) if part == ".." else place and place / part
            return place
    return None


def _up(place: PurePosixPath | None, levels: int) -> PurePosixPath | None:
    for _ in range(levels):
        if place is not None:
            outside = not place.parts or place.parts[-1] == ".."
            place = place / ".." if outside else place.parent
    return place


def outside(source: str, at: str) -> list[str]:
    """Return the paths of a module that lie above the repository's root."""
    return [str(place) for place in places(source, PurePosixPath(at)) if ".." in place.parts]


def test_no_path_leaves_the_repository() -> None:
    found = {at: outside(text, at) for at, text in texts(*BESIDE_IT).items()}
    assert {at: paths for at, paths in found.items() if paths} == {}


@pytest.mark.parametrize(
    "line",
    [
        'X = Path(__file__).parents[2].parent / "beside"',
        "X = Path(__file__).parents[3]",
        'X = Path(__file__).resolve().parents[2] / ".." / "beside"',
        'X = Path(__file__).parent / "../../../beside"',
        'ROOT = Path(__file__).parents[2]\ndef f():\n    return ROOT.parent / "beside"',
        'from tests.world.live.worker import ROOT as TOP\nX = TOP.parent / "beside"',
        'X = Path(os.path.dirname(__file__)).parents[1] / "../beside"',
    ],
)
def test_a_path_above_the_root_is_found(line: str) -> None:
    assert outside(line, "tests/live/test_some.py")
    assert not outside(line, "tests/live/deep/er/test_some.py") or "TOP" in line


def test_the_product_imports_no_test() -> None:
    found = {at for at, text in texts(*PRODUCT).items() if imported(text) & set(BESIDE_IT)}
    assert found == set()


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
