"""How deeply JSON nests, found without recursion: parsers give up at a depth of their own."""

import re
from typing import Final

import msgspec

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_OPEN: Final = frozenset(b"[{")
_CLOSED: Final = frozenset(b"]}")

# Levels checked at once: far fewer than a parser can take, wherever on the stack it starts.
_CHECKED_LEVELS: Final = 50

_validate: Final = msgspec.json.Decoder(msgspec.Raw).decode


def deeper_than(text: bytes, levels: int) -> bool:
    """Tell whether arrays and objects of valid JSON nest more than `levels` deep."""
    if text.count(123) + text.count(91) <= levels:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        depth += (first in _OPEN) - (first in _CLOSED)
        if depth > levels:
            return True
    return False


def flattened(text: bytes, levels: int) -> bytes:
    """Replace every array and object deeper than `levels` by `[]`, having checked it.

    What was JSON stays JSON. Raises `msgspec.DecodeError` where something replaced was not.
    """

    def cut(depth: int) -> bool:
        return depth > levels and (depth - levels) % _CHECKED_LEVELS == 1

    parts = [bytearray()]
    depth = start = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in _OPEN:
            depth += 1
            if cut(depth):
                parts[-1] += text[start : token.start()]
                parts.append(bytearray())
                start = token.start()
        elif first in _CLOSED:
            if cut(depth):
                _validate(bytes(parts.pop() + text[start : token.end()]))
                parts[-1] += b"[]"
                start = token.end()
            depth -= 1
    if len(parts) > 1:
        raise msgspec.DecodeError("an array or object is not closed")
    return bytes(parts[0] + text[start:])


def split_array(text: bytes) -> list[bytes]:
    """Cut a valid JSON array into the bytes of its elements, however deep they are."""
    elements = []
    depth, start = 0, text.index(b"[") + 1
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        depth += (first in _OPEN) - (first in _CLOSED)
        if (depth == 1 and first == ord(",")) or depth == 0:
            elements.append(text[start : token.start()].strip())
            start = token.end()
    return elements if elements != [b""] else []
