"""What brokers tell on requests that aiokafka has no words for; nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from io import BytesIO
from struct import unpack_from
from typing import Any, Final, NamedTuple

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

from app.kafka.clients import Admin


class May(IntEnum):
    """What somebody may do with a topic or a group, as the protocol numbers it."""

    READ = 3
    WRITE = 4
    DELETE = 6
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


Rights = Mapping[str, Collection[May]]
"""By name, what this user may do."""

_COORDINATED_WITHIN_S: Final = 10.0
_AGAIN_S: Final = 0.5
_MAY_NOT_SEE: Final = 29
_RELEASES: Final = (
    *((7, "3.3"), (8, "3.4"), (11, "3.5"), (14, "3.6"), (19, "3.7"), (20, "3.8"), (21, "3.9")),
    *((25, "4.0"), (27, "4.1")),
)
"""Up to which level of `metadata.version` each release goes."""
_ZSTD_AND_KIN: Final = 0x07
_OF_A_TRANSACTION: Final = 0x20
_HEADER_BYTES: Final = 61
_FETCHED_BYTES: Final = 262_144
_LOOKED_AT: Final = 1_000
"""Records from the end of a partition in which batches are looked at."""


async def release_of(admin: Admin, broker: int) -> tuple[int, str] | None:
    """Return the level of a broker's software, and the release by name; None: it tells none."""
    answer = await admin._send_request_to_node(broker, _Versions())
    told = answer.tags.get(0)
    for name, _, level, _ in [] if told is None else _FEATURES.decode(BytesIO(told)):
        if name == "metadata.version":
            newest = f"later than {_RELEASES[-1][1]}"
            return level, next((name for most, name in _RELEASES if level <= most), newest)
    return None


async def topic_rights(admin: Admin, names: Sequence[str]) -> Rights:
    """Return what this user may do with topics; one that is not there is left out."""
    answer = await admin._send_request(_TopicRights(names))
    return {
        name: () if code else _rights(bits)
        for code, name, _, _, bits in answer.topics
        if code in (0, _MAY_NOT_SEE)
    }


class Group(NamedTuple):
    """A consumer group as its coordinator has it."""

    state: str
    members: list[str]
    """Client id and address of each, sorted."""
    subscriptions: set[frozenset[str]]
    """The topics that members read, as far as they told it yet."""
    rights: Collection[May]


async def group_of(admin: Admin, name: str) -> Group | None:
    """Return a consumer group; None: this user may not see it.

    Raises:
        KafkaError: no broker coordinates it yet; the first question has one named.
    """
    try:
        node = await admin.find_coordinator(name)
    except GroupAuthorizationFailedError:
        return None
    answer = await admin._send_request_to_node(node, _GroupRights(name))
    (group,) = answer.to_object()["groups"]
    if group["error_code"]:
        return None
    members = sorted(f"{m['client_id']} at {m['client_host']}" for m in group["members"])
    subscriptions = {
        frozenset(ConsumerProtocolMemberMetadata.decode(told).subscription)
        for member in group["members"]
        if (told := member["member_metadata"])
    }
    rights = _rights(group["authorized_operations"])
    return Group(str(group["state"]), members, subscriptions, rights)


async def group_once_coordinated(admin: Admin, name: str) -> Group | None:
    """Return `group_of`; on new brokers somebody has to be named for it first.

    Raises:
        TimeoutError: no broker coordinates it.
    """
    async with asyncio.timeout(_COORDINATED_WITHIN_S):
        while True:
            try:
                return await group_of(admin, name)
            except KafkaError:
                await asyncio.sleep(_AGAIN_S)


def _rights(bits: int) -> frozenset[May]:
    return frozenset(may for may in May if bits >> may & 1)


class Batch(NamedTuple):
    """A batch of records as it lies in a log."""

    nbytes: int
    is_compressed: bool


async def newest_batches(
    admin: Admin, topic: str, ends: Mapping[int, tuple[int, int]]
) -> list[Batch]:
    """Return some of the newest batches of a topic, without those of transactions' ends.

    `ends`: first and next offset by partition.
    """
    (described,) = await admin.describe_topics([topic])
    found: list[Batch] = []
    for partition in described["partitions"]:
        number = partition["partition"]
        start, end = ends[number]
        wanted = [(topic, [(number, max(start, end - _LOOKED_AT), _FETCHED_BYTES)])]
        request = FetchRequest(0, 0, _FETCHED_BYTES, 0, wanted)
        answer = await admin._send_request_to_node(partition["leader"], request)
        for _, partitions in answer.topics:
            for told in partitions:
                found += _batches(bytes(told[-1] or b""))
    return found


def _batches(content: bytes) -> Iterator[Batch]:
    at = 0
    while at + _HEADER_BYTES <= len(content):
        _, length, _, _, _, attributes = unpack_from(">qiibih", content, at)
        if not attributes & _OF_A_TRANSACTION:
            yield Batch(length, bool(attributes & _ZSTD_AND_KIN))
        at += 12 + length


_FEATURES: Final = CompactArray(
    ("name", CompactString("utf-8")), ("least", Int16), ("most", Int16), ("tags", TaggedFields)
)


class _VersionsAnswer(Response):  # type: ignore[misc]
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(
                ("api_key", Int16), ("least", Int16), ("most", Int16), ("tags", TaggedFields)
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _VersionsAsked(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _VersionsAnswer
    SCHEMA = Schema(
        ("software", CompactString("utf-8")),
        ("version", CompactString("utf-8")),
        ("tags", TaggedFields),
    )

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """Return the header; this answer alone has never tags there."""
        return ResponseHeader_v0.decode(read_buffer)


class _Versions(Request[_VersionsAsked]):  # type: ignore[misc]
    API_KEY = 18

    def build(self, request_struct_class: type[_VersionsAsked]) -> _VersionsAsked:
        return request_struct_class("meterstream", "1", {})


class _TopicRightsAnswer(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicRightsAsked(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicRightsAnswer
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _TopicRights(Request[_TopicRightsAsked]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Sequence[str]):
        self._names = list(names)

    def build(self, request_struct_class: type[_TopicRightsAsked]) -> Any:
        return request_struct_class(self._names, False, False, True)


class _GroupRightsAsked(DescribeGroupsRequest_v3):  # type: ignore[misc]
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    """aiokafka reads the answer as that of the version before, which tells no rights."""


class _GroupRights(Request[_GroupRightsAsked]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, name: str):
        self._name = name

    def build(self, request_struct_class: type[_GroupRightsAsked]) -> Any:
        return request_struct_class([self._name], True)
