"""Post what is to be invoiced to a URL: `pip install aiokafka aiohttp meterstream-….whl`.

Each record is posted until it is taken; its `id` lets the receiver pass over a second copy. The
product has webhooks of its own, signed and by organization: docs/WEBHOOKS.md.
"""

import asyncio
import os

import aiohttp
from aiokafka import AIOKafkaConsumer
from meterstream.records import UsageRecord, read

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092")
TOPIC = os.environ.get("TOPIC", "usage-records")
RECEIVER = os.environ.get("RECEIVER", "http://127.0.0.1:9000/usage")


async def post(session, body):
    wait_s = 0.5
    while True:
        try:
            async with session.post(RECEIVER, json=body) as answer:
                if answer.status < 300:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, 60)


async def main():
    names = {"bootstrap_servers": BROKERS, "group_id": "poster", "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(
        TOPIC, **names, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    async with aiohttp.ClientSession() as session:
        while batch := await consumer.getmany(timeout_ms=3000):
            for message in (message for messages in batch.values() for message in messages):
                record = read(message.value)  # None: of a type that is not known yet
                if isinstance(record, UsageRecord):
                    body = {"id": record.id, "subscription": record.external_subscription_id}
                    body |= {"metric": record.billable_metric.code, "units": str(record.units)}
                    # Which quantity to invoice hangs on these two: docs/usage-records.md.
                    prorated = record.prorated_units
                    body |= {"prorated_units": None if prorated is None else str(prorated)}
                    body |= {"billing": record.billing}
                    # Of a revision: above 0 is a further line, below 0 a credit note.
                    delta = record.units if record.revision == 0 else record.delta_units
                    await post(session, body | {"delta": str(delta)})
            await consumer.commit()
    await consumer.stop()


asyncio.run(main())
