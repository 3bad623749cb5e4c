"""A request before it is known what it asks: connections, keys, bodies, queries, errors.

It imports what lies below `app.api`; no other package of it.
"""
