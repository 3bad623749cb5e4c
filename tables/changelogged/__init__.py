"""What a changelog carries: the tables and records that a flush writes and a restore reads.

It may import values and aggregations, and the value packages of `app`.
"""
