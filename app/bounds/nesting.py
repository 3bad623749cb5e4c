"""How deeply JSON nests, and where it can be cut: found in passes over all bytes at once.

Parsers recurse, and give up at a depth that hangs on the stack they start from. So text that nests
deeper than any of them must bear is told apart before it is parsed, at the speed of its bytes.
"""

from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

PARSED_LEVELS: Final = 300
"""Text that nests deeper is not parsed."""

_COMMA: Final = 44
_QUOTE: Final = 34
_WHITESPACE: Final = b" \t\r\n"

_NEITHER: Final = bytes(set(range(256)).difference(b'"[]{}'))

_STEPS: Final = np.zeros(256, dtype=np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def deeper_than(text: bytes, levels: int) -> bool:
    """Tell whether arrays and objects of JSON nest more than `levels` deep."""
    if len(text) <= levels or text.count(123) + text.count(91) <= levels:
        return False
    # Most bytes are neither quotes nor brackets: taking them out costs less than a pass over them.
    _, depths = _outside_strings(_unescaped(text).translate(None, delete=_NEITHER))
    return bool(depths.max(initial=0) > levels)


def holds_more_than(text: bytes, values: int) -> bool:
    """Tell whether JSON holds more values than so many; empty arrays and objects count twice."""
    counted = (_COMMA, 91, 123)
    if sum(text.count(character) for character in counted) < values:
        return False
    structure, _ = _outside_strings(text)
    return bool(np.isin(structure, counted).sum() >= values)


def split_array(text: bytes, most: int) -> list[bytes]:
    """Cut a JSON array into the bytes of its elements, at most so many, however deep they are.

    Raises `msgspec.DecodeError` when the text is not one array; its elements are not looked at.
    """
    structure, depths = _outside_strings(text)
    start = len(text) - len(text.lstrip(_WHITESPACE))
    ends = np.flatnonzero(depths[start:] == 0)
    if text[start : start + 1] != b"[" or not len(ends):
        raise msgspec.DecodeError("an array is not closed")
    end = start + int(ends[0])
    if text[end + 1 :].strip(_WHITESPACE):
        raise msgspec.DecodeError("something follows the array")
    commas = np.flatnonzero((structure[:end] == _COMMA) & (depths[:end] == 1))[:most]
    bounds = [start, *commas.tolist(), end]
    elements = [text[before + 1 : after].strip(_WHITESPACE) for before, after in pairwise(bounds)][
        :most
    ]
    return elements if elements != [b""] else []


def _outside_strings(text: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return the text with zeros for its strings, and the number of open levels after each byte."""
    characters = np.frombuffer(_unescaped(text), dtype=np.uint8)
    # Counting around at 256 leaves odd what is odd.
    quotes = np.cumsum(characters == _QUOTE, dtype=np.uint8)
    structure = np.where(quotes & 1, np.uint8(0), characters)
    return structure, np.cumsum(_STEPS[structure], dtype=np.int32)


def _unescaped(text: bytes) -> bytes:
    """Return the text with spaces for escaped quotes and backslashes."""
    if b"\\" not in text:
        return text
    # Pairs from the left, so that a quote is escaped by a backslash that is not.
    return text.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
