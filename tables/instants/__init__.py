"""Charges paid in advance: what each event bills when it comes.

It may import the fold, cells and aggregations.
"""
