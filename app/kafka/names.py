"""Names of aiokafka and Faust that callers of this package need: nobody else imports those two."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import ConsumerRecord, RecordMetadata
from faust.types import TP

__all__ = [
    "TP",
    "AIOKafkaProducer",
    "ConsumerRecord",
    "KafkaConnectionError",
    "KafkaError",
    "OffsetOutOfRangeError",
    "RecordMetadata",
    "RecordsToDelete",
    "TopicPartition",
    "TransactionalIdAuthorizationFailed",
]
