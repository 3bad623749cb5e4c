"""What the page shows of records whose bytes may be anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kafka.log_readers import LogRecord
from app.runtime.dead_letters import organization_of


@pytest.mark.parametrize(
    ("value", "organization_id"),
    [
        (b'{"organization_id":"o","more":[1]}', "o"),
        (b'{"organization_id":7}', None),
        (b'{"specversion":"1.0","organizationid":"a","data":{"organization_id":"b"}}', "a"),
        (b'{"specversion":"1.0","organization_id":"b"}', None),
        (b'[{"organization_id":"o"},{"organization_id":"o"}]', "o"),
        (b'[{"organization_id":"o"},{"organization_id":"p"}]', None),
        (b'[{"organization_id":"o"},1]', None),
        (b'{"organization_id":"\xff"}', None),
        (b'{"organization_id":"o","text":"\xff"}', None),
        (b'{"organization_id":"o","organization_id":"p"}', "p"),
        (b'{"organization_id":"o","organization_id":null}', None),
        (b'{"organization_id":"","specversion":null}', None),
        (b'{"organization_id":"o\\u0000"}', None),
        (b'{"\\u006frganization_\\u0069d":"o"}', "o"),
        (b'{"organization_id":"o"', None),
        (b'{"organization_id":"o","more":' + b"[" * 400 + b"]" * 400 + b"}", None),
        (b' [ {"organization_id":"o"} ] ', "o"),
        (b'[{"organization_id":"o"},{}]', None),
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
    assert organization_of(_letter(value)) == organization_id


@given(st.binary())
def test_any_bytes_may_be_refused(value: bytes) -> None:
    letter = _letter(b'{"organization_id":"' + value)
    assert organization_of(letter) in (None, value.decode(errors="ignore"))


def test_what_the_decoder_found_decides() -> None:
    found = ("meter-organization", b"a")
    assert organization_of(_letter(b'{"organization_id":"b"}', found)) == "a"
    binary = ("ce_organizationid", b"a")
    assert organization_of(_letter(b'{"organization_id":"b"}', binary)) == "a"


def _letter(value: bytes | None, *headers: tuple[str, bytes]) -> LogRecord:
    return LogRecord(None, value, list(headers), 17, 7)
