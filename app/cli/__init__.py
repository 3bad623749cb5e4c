"""The command line, one module a command.

It may import everything; nothing imports it.
"""
