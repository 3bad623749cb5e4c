"""The topics a partition's state is kept in and published to: how each is read back.

It imports the shared context of `app.runtime`, Kafka's readers and the tables; no owned partition.
"""
