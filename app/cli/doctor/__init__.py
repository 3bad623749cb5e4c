"""`meter doctor`: a module for each area that is checked.

It may import what `app/cli` may.
"""
