"""The golden log: two committed logs that touch every rule, and the digests of what they make.

This package imports the product and the kits of `tests`, and no suite imports it.
"""
