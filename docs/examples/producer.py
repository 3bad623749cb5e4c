"""Send events to events-raw, from Python: `pip install aiokafka`."""

import asyncio
import json
import os
import zlib

from aiokafka import AIOKafkaProducer

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092")
TOPIC = os.environ.get("TOPIC", "events-raw")
ORGANIZATION = "00000000-0000-4000-8000-000000000001"
SUBSCRIPTION = "acme-storage"


def librdkafka(key, partitions, available):
    """Find the home of a key as librdkafka does: then no event needs a second hop."""
    return sorted(partitions)[zlib.crc32(key) % len(partitions)]


async def main():
    producer = AIOKafkaProducer(
        bootstrap_servers=BROKERS, acks="all", partitioner=librdkafka, compression_type="gzip"
    )
    await producer.start()
    try:
        event = {
            "organization_id": ORGANIZATION,
            "external_subscription_id": SUBSCRIPTION,
            # Sent again after a failure it counts once: the id makes it the same event.
            "transaction_id": "storage-0003",
            "code": "storage",
            # A quantity as text: no float ever touches it.
            "properties": {"gb": "2.25", "provider": "google"},
        }
        key = f"{ORGANIZATION}-{SUBSCRIPTION}".encode()
        await producer.send_and_wait(TOPIC, json.dumps(event).encode(), key=key)
    finally:
        await producer.stop()


asyncio.run(main())
