"""Rules of `docs/rules` that cross modules, each test named for its rule.

These tests import the product and the kits of `tests`, and start no server.
"""
