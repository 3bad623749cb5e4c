"""Properties stay JSON until a metric says which of them it needs."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

NO_PROPERTIES: Final = b"{}"
# Names that msgspec cannot give to a field.
_NO_FIELD_NAME: Final = re.compile(r'[\\"\x00-\x1f]')

_decode_all: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_properties(raw: bytes) -> Mapping[str, msgspec.Raw]:
    """Give the JSON literal of every property; read them with `app.numbers`."""
    return _decode_all(raw)


@lru_cache(maxsize=4096)
def property_reader(names: tuple[str, ...]) -> Callable[[bytes], tuple[msgspec.Raw | None, ...]]:
    """Compile a reader of just these properties, in this order; None for an absent one.

    Faster than `read_properties`: what is not named is skipped, not stored.
    """
    if any(_NO_FIELD_NAME.search(name) for name in names):
        return lambda raw: tuple(map(_decode_all(raw).get, names))
    aliases = {f"property_{position}": name for position, name in enumerate(names)}
    struct = msgspec.defstruct(
        "Properties",
        [(field, msgspec.Raw, None) for field in aliases],
        rename=aliases,
        gc=False,
    )
    decode = msgspec.json.Decoder(struct).decode
    as_tuple = msgspec.structs.astuple
    return lambda raw: as_tuple(decode(raw))
