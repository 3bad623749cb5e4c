"""What the page shows of records whose bytes may be anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.show import organization_of


@pytest.mark.parametrize(
    ("value", "organization_id"),
    [
        (b'{"organization_id":"o","more":[1]}', "o"),
        (b'{"organization_id":7}', None),
        (b'{"organization_id":"\xff"}', None),
        (b'{"organization_id":"o","text":"\xff"}', None),
        (b'{"\xff":1}', None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_organization_of_a_refused_record(
    value: bytes | None, organization_id: str | None
) -> None:
    assert organization_of(value) == organization_id


@given(st.binary())
def test_any_bytes_may_be_refused(value: bytes) -> None:
    assert organization_of(b'{"organization_id":"' + value) in (None, value.decode(errors="ignore"))
