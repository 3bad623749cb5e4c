"""Closing: what the cuts of a period publish, and what they settle.

It imports the state of a partition, its cells and its routes.
"""
