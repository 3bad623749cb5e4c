"""Reading properties without decoding all of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.properties import property_reader, read_properties

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
def test_both_readers_agree(name: str, literal: bytes | None) -> None:
    found = read_properties(RAW).get(name)
    (compiled,) = property_reader((name,))(RAW)
    assert (None if found is None else bytes(found)) == literal
    assert (None if compiled is None else bytes(compiled)) == literal


def test_literals_come_in_the_order_of_the_names() -> None:
    values = property_reader(("région", "absent", "gb"))(RAW)
    assert [None if value is None else bytes(value) for value in values] == [b'"eu"', None, b"13"]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), st.lists(st.text()))
def test_any_names_can_be_read(properties: dict[str, object], others: list[str]) -> None:
    names = tuple(dict.fromkeys([*properties, *others]))
    values = property_reader(names)(json.dumps(properties).encode())
    for name, value in zip(names, values, strict=True):
        assert (value is not None) == (name in properties)
        if value is not None:
            assert json.loads(bytes(value)) == properties[name]
