"""Scans: events of owned partitions read again beside the live fold, and whose turn it is.

It imports `app.runtime.partition` and what lies below it; never the engine.
"""
