"""How a calendar cuts a subscription's time: grids, timezones, day counts, instants.

It imports nothing of ours.
"""
