"""Ask the broker which producer's open transaction holds back a partition.

aiokafka does not have this request (DescribeProducers, KIP-664), so it is defined here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_API_KEY = 61
_TAGS = ("tags", TaggedFields)


class _Described(Response):  # type: ignore[misc]
    API_KEY = _API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                _TAGS,
                            ),
                        ),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _Describe(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = _Described
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), _TAGS
            ),
        ),
        _TAGS,
    )


class _DescribeProducers(Request[_Describe]):  # type: ignore[misc]
    API_KEY = _API_KEY

    def __init__(self, tp: TopicPartition):
        self._tp = tp

    def build(self, request_struct_class: type[_Describe]) -> Struct:
        return request_struct_class([(self._tp.topic, [self._tp.partition], {})], {})


async def holder_of(client: AIOKafkaClient, tp: TopicPartition) -> int | None:
    """Return the producer id of the earliest open transaction; None: none is open, or no leader.

    Raises:
        KafkaError: the leader does not answer.
    """
    leader = client.cluster.leader_for_partition(tp)
    if leader is None or leader < 0:
        return None
    answer = await client.send(leader, _DescribeProducers(tp))
    return _earliest(answer.topics)


def _earliest(topics: Iterable[Any]) -> int | None:
    open_ones = [
        (start_offset, producer_id)
        for _, partitions, _ in topics
        for _, _, _, producers, _ in partitions
        for producer_id, _, _, _, _, start_offset, _ in producers or ()
        if start_offset >= 0
    ]
    return min(open_ones)[1] if open_ones else None
