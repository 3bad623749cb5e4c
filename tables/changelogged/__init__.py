"""What a changelog carries: the tables and records that a flush writes and a restore reads.

It may import values, aggregations and the event index, and the value packages of `app`.
"""
