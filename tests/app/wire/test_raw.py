"""Message keys and home partitions."""

import pytest
from aiokafka.partitioner import murmur2 as client_murmur2
from hypothesis import given
from hypothesis import strategies as st

from app.wire.keys import home_partition, message_key, murmur2


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_of_the_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=40), st.integers(1, 64))
def test_murmur2_partitions_are_those_of_aiokafka(key: bytes, partitions: int) -> None:
    expected = (client_murmur2(key) & 0x7FFFFFFF) % partitions
    assert home_partition(key, partitions, "murmur2") == expected


@pytest.mark.parametrize(
    ("key", "crc32"), [(b"", 0), (b"123456789", 0xCBF43926), (b"a", 0xE8B7BE43)]
)
def test_crc32_partitions_are_those_of_librdkafka(key: bytes, crc32: int) -> None:
    assert [home_partition(key, n, "crc32") for n in (1, 7, 12)] == [crc32 % n for n in (1, 7, 12)]


def test_message_key() -> None:
    assert message_key("org", "süb") == "org-süb".encode()
