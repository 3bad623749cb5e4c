"""From (organization, subscription, code) to the cells that an event of it reaches.

It imports cells, charges and definitions.
"""
