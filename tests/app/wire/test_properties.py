"""Reading properties without decoding all of them."""

import pytest

from app.wire.properties import read_properties

RAW = b'{"gb":12.50,"r\\u00e9gion":"eu","a\\"b":1,"":[1,{"x":2}],"nothing":null,"gb":13}'


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("gb", b"13"),
        ("région", b'"eu"'),
        ('a"b', b"1"),
        ("", b'[1,{"x":2}]'),
        ("nothing", b"null"),
        ("absent", None),
    ],
)
def test_a_property_is_read_as_it_is_spelled(name: str, literal: bytes | None) -> None:
    found = read_properties(RAW).get(name)
    assert (None if found is None else bytes(found)) == literal
