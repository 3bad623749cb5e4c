"""Bytes in and out: events, corrections, refusals, usage records.

It imports definitions and what they stand on, never tables.
"""
