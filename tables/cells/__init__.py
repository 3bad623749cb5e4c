"""Accumulators: a cell a group, a layer a period, a span a charge.

It imports aggregations, charges and what changelogs carry.
"""
