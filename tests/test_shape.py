"""The shape of the product: short functions, short files, plain imports, plain sentences."""

from __future__ import annotations

import ast
import re
from ast import get_docstring as docstring
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("agents", "app", "deploy", "tables")
FILES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))

FUNCTION_LINES = 70
LONG = {
    "tables/fold.py:_fold_into": "the inner loop: a call more for each event costs a tenth",
}
"""Functions of more than FUNCTION_LINES lines, with the reason."""

FILE_LINES = 500
WHY_LONG = "over 500 lines"
"""What the docstring of a longer file says, with the reason."""

RIDDLES = frozenset({"Of", "Whose", "Those", "Who", "That", "So", "Not"})
"""Words with which no sentence begins that has a subject and a verb."""

NO_VERBS = """
A After All An Another Any As At Before Both By Each Every Everything For From How If In Is It Its
Never Newest No Nobody None Nothing On One Only Others Some Text The Their These They This Those Up
What When Where Whether Which Who Whoever Whom Why With Without
"""
"""Words with which the docstring of a function does not begin, for a verb comes first."""

SENTENCE_WORDS = 30
ARGUMENTS = 7
MANY = {
    "app/kernel/twin.py:arrive": "a call into C: an object more would cost every event",
    "app/kernel/twin.py:arrive_forwards": "a call into C, beside `arrive_many`",
    "app/kernel/twin.py:arrive_many": "a call into C, beside `arrive`",
    "app/kernel/twin.py:index_rows": "a call into C: an object more would cost every run",
    "app/kernel/twin.py:split": "a call into C: what the head of a batch says",
    "app/kernel/twin.py:take_run": "a call into C: an object more would cost every run",
    "app/runtime/believed.py:append_believed": "who appends, for whom, and a whole record",
    "tables/fold.py:_fold_into": "the inner loop, beside `fold_run`, which has seven",
    "tables/partition/redefinition.py:__init__": "the parts of a partition that it joins",
}
"""Functions that take more than ARGUMENTS by their place, with the reason."""

PROPERTIES = frozenset({"cached_property", "property", "setter"})
"""Decorators under which a function reads like an attribute, and may be told by a noun."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def nodes(path: Path) -> Sequence[ast.AST]:
    """Return what a file is made of: every rule asks for it."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def long_functions() -> set[str]:
    """Return the functions that are longer than a screen, as file:function."""
    return {
        f"{named(path)}:{node.name}"
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= FUNCTION_LINES
    }


def texts(found: Sequence[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield every docstring, those under attributes included, with its line."""
    for node in found:
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else ():
            value = each.value if isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield each.lineno, value.value


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is read like an attribute."""
    return any(ast.unparse(each).split(".")[-1] in PROPERTIES for each in node.decorator_list)


def begins_with_a_verb(text: str) -> bool:
    """Return whether a docstring may begin with a verb in the form of "Return", not "Returns"."""
    first = text.split()[0].rstrip(".,;:")
    plural = first.endswith("s") and not first.endswith("ss")
    return first.isalpha() and first.istitle() and not plural and first not in NO_VERBS.split()


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether click calls it, with each option of the command by its name."""
    return any(".command(" in ast.unparse(each) for each in node.decorator_list)


def many_arguments() -> set[str]:
    """Return the functions that take too many arguments by their place, as file:function."""
    return {
        f"{named(path)}:{node.name}"
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node)
        if len([each for each in node.args.args if each.arg not in ("self", "cls")]) > ARGUMENTS
    }


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a docstring, without tables and other indented lines."""
    for part in cleandoc(text).split("\n\n"):
        lines = [line for line in part.splitlines() if not line.startswith(" ")]
        yield from re.split(r"(?<=[.!?:;])\s", " ".join(lines))


def test_functions_are_short() -> None:
    assert long_functions() - LONG.keys() == set()


def test_long_functions_that_are_named_are_long() -> None:
    assert LONG.keys() - long_functions() == set()


def test_functions_take_few_arguments() -> None:
    assert many_arguments() - MANY.keys() == set()


def test_functions_that_are_named_take_many_arguments() -> None:
    assert MANY.keys() - many_arguments() == set()


def test_a_long_file_says_why() -> None:
    """Tests as well: who looks for something reads the docstring first."""
    paths = [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    texts = {named(path): path.read_text() for path in paths}
    long = {name: text for name, text in texts.items() if text.count("\n") > FILE_LINES}
    assert [n for n, t in long.items() if WHY_LONG not in (docstring(ast.parse(t)) or "")] == []


def test_a_closed_list_of_words_is_written_once() -> None:
    """`app.records` goes alone to those who read records."""
    lists = Counter(
        frozenset(ast.unparse(each) for each in node.slice.elts)
        for path in FILES
        if ROOT / "app" / "records" not in path.parents
        for node in nodes(path)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
        if isinstance(node.slice, ast.Tuple)
    )
    assert [sorted(words) for words, count in lists.items() if count > 1] == []


def test_no_import_hides_from_the_running_program() -> None:
    """What is imported for types alone hides a circle; import-linter sees the others."""
    hidden = [
        (named(path), ast.unparse(each))
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for each in ast.walk(node)
        if isinstance(each, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []


def test_what_a_module_keeps_for_itself_is_imported_nowhere() -> None:
    borrowed = [
        (named(path), each.name)
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module is not None
        if node.module.split(".")[0] in ("agents", "app", "tables")
        for each in node.names
        if each.name.startswith("_")
    ]
    assert borrowed == []


def test_no_docstring_begins_with_a_riddle() -> None:
    riddles = [
        (named(path), line, text.split("\n")[0])
        for path in FILES
        for line, text in texts(nodes(path))
        if text.split()[:1] and text.split()[0] in RIDDLES
    ]
    assert riddles == []


def test_sentences_are_short() -> None:
    long = [
        (named(path), line, sentence)
        for path in FILES
        for line, text in texts(nodes(path))
        for sentence in sentences(text)
        if len(sentence.split()) > SENTENCE_WORDS
    ]
    assert long == []


def test_docstring_of_a_function_begins_with_a_verb() -> None:
    others = [
        (named(path), node.lineno, node.name, text.split("\n")[0])
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node)
        if (text := docstring(node)) and not begins_with_a_verb(text)
    ]
    assert others == []
