"""Uuids: ids that follow from a name, so that whoever makes them again makes the same ones."""

from __future__ import annotations

from hashlib import sha1
from typing import Final

_VARIANTS: Final = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
"""The two highest bits of the ninth byte are 10."""


def uuid5_text(name: bytes, namespace: bytes) -> str:
    """Return `str(uuid.uuid5(namespace, name))` in a third of the time."""
    text = sha1(namespace + name, usedforsecurity=False).hexdigest()
    variant = _VARIANTS[text[16]]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"
