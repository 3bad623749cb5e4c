"""The fold without a worker: two logs in, usage records and usage out; export of the logs;
published messages compared to that fold.

It imports tables, definitions, Kafka's readers, wire and what a proof says, never the runtime.
"""
