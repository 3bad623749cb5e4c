"""Attacks: what one organization may send, while another one works beside it.

Each case attacks a production worker in a process of its own. A well-behaved organization works on
the same worker from another process, and its latencies are measured. Cases of one family share a
worker. The kit: `victim.py` (the worker), `neighbour.py` (the other organization).
"""
