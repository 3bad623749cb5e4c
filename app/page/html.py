"""HTML as values: every text is escaped, and only what is made here counts as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import Final

_VOID: Final = frozenset(("br", "input"))
_RENAMED: Final = {"class_": "class", "for_": "for"}


_IS_MARKUP: Final = re.compile("[&<>\"']").search
"""Most texts are not: to look is cheaper than to escape."""


class Html(str):
    """Markup that is sent as it stands."""

    __slots__ = ()


Node = str | int | None | Iterable["Node"]
"""What an element may hold: markup, text, a number, nothing, or a list of them."""

Attribute = str | int | bool | None
"""True stands without a value; False and None are left out."""


def markup(*nodes: Node) -> Html:
    """Return nodes one after the other."""
    if len(nodes) == 1 and isinstance(nodes[0], Html):
        return nodes[0]
    return Html("".join(map(_text, nodes)))


def el(name: str, /, *nodes: Node, **attributes: Attribute) -> Html:
    """Return an element; `class_` is class, and `hx_get` is hx-get."""
    opening = f"<{name}{attributes_of(attributes)}>" if attributes else f"<{name}>"
    return Html(opening if name in _VOID else f"{opening}{markup(*nodes)}</{name}>")


def attributes_of(attributes: Mapping[str, Attribute]) -> Html:
    """Return attributes as they stand in a tag, each after a space."""
    found = []
    for name, value in attributes.items():
        if value is True:
            found.append(f" {_spelled(name)}")
        elif value is not None and value is not False:
            text = str(value)
            found.append(f' {_spelled(name)}="{escape(text) if _IS_MARKUP(text) else text}"')
    return Html("".join(found))


def _text(node: Node) -> str:
    # Thousands of times a page: what a type is asked by `match` costs more than all the rest.
    if isinstance(node, Html):
        return node
    if isinstance(node, str):
        return escape(node, quote=False) if _IS_MARKUP(node) else node
    if node is None:
        return ""
    if isinstance(node, int):
        return str(node)
    return "".join(map(_text, node))


@cache
def _spelled(name: str) -> str:
    return _RENAMED.get(name, name.replace("_", "-"))


def lazy(name: str, source: str, title: str) -> Html:
    """Return the place of a part that is asked for once, and left alone when the view changes."""
    return el(
        "section",
        el("h2", title),
        el("p", "Loading…", class_="empty"),
        id=name,
        hx_get=source,
        hx_trigger="load",
        hx_swap="innerHTML",
        hx_morph_skip_children=True,
    )


def button(words: str, target: str, **attributes: Attribute) -> Html:
    """Return a button; what it asks for then stands in a place of the view."""
    return el("button", words, type="button", **attributes, hx_target=target, hx_swap="innerHTML")
