"""Invoice from PostgreSQL: `pip install aiokafka "psycopg[binary]" meterstream-….whl`.

A record makes one line however often it is read, a revision a further line or a credit note. An
invoice is closed when its period is complete.
"""

import asyncio
import os

import psycopg
from aiokafka import AIOKafkaConsumer
from meterstream.records import Ledger, PeriodCompleted, UsageRecord, read

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092")
TOPIC = os.environ.get("TOPIC", "usage-records")
DATABASE = os.environ.get("DATABASE", "postgresql:///meterstream")

TABLES = """
create table if not exists known (key text primary key, value bytea not null);
create table if not exists invoices (id text primary key, customer text, closed boolean not null);
create table if not exists lines (
  record_id text primary key, invoice text, cell text, revision int, kind text, units numeric);
"""
LINE = "insert into lines values (%s, %s, %s, %s, %s, %s) on conflict (record_id) do nothing"
CLOSE = """insert into invoices values (%s, %s, %s)
on conflict (id) do update set closed = invoices.closed or excluded.closed"""


class Store:
    """What the ledger knows, in the transaction of the lines: both are there, or none is."""

    def __init__(self, database):
        self._database = database

    def get(self, key):
        query = "select value from known where key = %s"
        found = self._database.execute(query, (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def put(self, key, value):
        self._database.execute(
            "insert into known values (%s, %s) on conflict (key) do update set value = %s",
            (key, value, value),
        )


def invoice(record):
    return f"{record.lago_subscription_id} {record.period.from_:%Y-%m-%d}"


def take(database, ledger, value):
    change = ledger.take(read(value))
    new = change.new if change else None  # None: seen before, older, or of an unknown type.
    if isinstance(new, UsageRecord):
        units = change.to_bill  # Prorated where it is, and 0 where it was paid in advance.
        kind = "line" if new.revision == 0 else "credit note" if units < 0 else "further line"
        database.execute(LINE, (new.id, invoice(new), new.cell_id, new.revision, kind, units))
    if isinstance(new, UsageRecord | PeriodCompleted):
        closed = ledger.period_of(new).complete
        database.execute(CLOSE, (invoice(new), new.external_customer_id, closed))


async def main():
    names = {"bootstrap_servers": BROKERS, "group_id": "invoices", "enable_auto_commit": False}
    start = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
    consumer = AIOKafkaConsumer(TOPIC, **names, **start)
    await consumer.start()
    with psycopg.connect(DATABASE) as database:
        database.execute(TABLES)
        ledger = Ledger(Store(database))
        while batch := await consumer.getmany(timeout_ms=3000):
            for message in (message for messages in batch.values() for message in messages):
                take(database, ledger, message.value)
            database.commit()
            await consumer.commit()  # After the database: what is read again changes nothing.
    await consumer.stop()


asyncio.run(main())
