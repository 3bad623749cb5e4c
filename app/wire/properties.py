"""Properties stay JSON until a metric says which of them it needs."""

from collections.abc import Mapping
from typing import Final

import msgspec

NO_PROPERTIES: Final = b"{}"

_decode_all: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_properties(raw: bytes) -> Mapping[str, msgspec.Raw]:
    """Give the JSON literal of every property; read them with `app.numbers`."""
    return _decode_all(raw)
