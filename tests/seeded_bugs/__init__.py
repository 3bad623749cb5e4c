"""Bugs planted on purpose: each must be caught by the suite."""
