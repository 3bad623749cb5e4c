"""Print what to invoice and what to credit: `pip install aiokafka meterstream-….whl`."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer
from meterstream.records import Ledger, PeriodCompleted, UsageRecord, read

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092")
TOPIC = os.environ.get("TOPIC", "usage-records")


async def main():
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=BROKERS,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    ledger, periods = Ledger(), {}
    try:
        # Until nothing comes for three seconds; a real consumer goes on.
        while batch := await consumer.getmany(timeout_ms=3000):
            for message in (message for messages in batch.values() for message in messages):
                change = ledger.take(read(message.value))  # None: seen, older, an unknown type
                if change and isinstance(change.new, PeriodCompleted):
                    periods[change.new.cell_id] = change.new
                elif change and isinstance(change.new, UsageRecord):
                    print(change.new.billable_metric.code, change.delta_units)
    finally:
        await consumer.stop()
    for done in periods.values():
        word = "complete" if ledger.period_of(done).complete else "incomplete"
        print(done.external_subscription_id, done.period.from_, word)


asyncio.run(main())
