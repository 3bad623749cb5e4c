"""Coming from Lago: `meter migrate` copies its definitions, `meter compare` compares its usage.

It may import what base commands may: the worker that is asked, and what they print.
"""
