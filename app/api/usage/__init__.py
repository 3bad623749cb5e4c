"""Handlers of figures: usage, records, and what proves them.

They import `app.api.events` and what lies below it.
"""
