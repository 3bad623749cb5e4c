"""Run conformance vectors through the product's code.

It may import anything of the product; only tests import it.
"""
