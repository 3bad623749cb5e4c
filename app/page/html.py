"""HTML as values: every text is escaped, and only what is made here counts as markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset(("br", "input"))
_RENAMED: Final = {"class_": "class", "for_": "for"}


class Html(str):
    """Markup that is sent as it stands."""

    __slots__ = ()


Node = str | int | None | Iterable["Node"]
"""What an element may hold: markup, text, a number, nothing, or a list of them."""

Attribute = str | int | bool | None
"""True stands without a value; False and None are left out."""


def markup(*nodes: Node) -> Html:
    """Return nodes one after the other."""
    return Html("".join(map(_text, nodes)))


def el(name: str, /, *nodes: Node, **attributes: Attribute) -> Html:
    """Return an element; `class_` is class, and `hx_get` is hx-get."""
    opening = f"<{name}{''.join(_attribute(*each) for each in attributes.items())}>"
    return Html(opening if name in _VOID else f"{opening}{markup(*nodes)}</{name}>")


def _text(node: Node) -> str:
    match node:
        case None:
            return ""
        case Html():
            return node
        case str():
            return escape(node, quote=False)
        case int():
            return str(node)
    return "".join(map(_text, node))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    spelled = _RENAMED.get(name, name.replace("_", "-"))
    return f" {spelled}" if value is True else f' {spelled}="{escape(str(value))}"'
