"""The live page: static files.

It imports nothing.
"""
