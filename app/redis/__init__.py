"""All that knows Redis: its client and the members of unique counts that it keeps.

It imports settings, names of members from `tables` and the error of a fenced owner.
"""
