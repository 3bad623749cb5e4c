"""The fold without a worker: two logs in, usage records and usage out; export of the logs; proof.

It imports tables, Kafka's readers and wire, never the runtime.
"""
