"""Handlers of events: taken in, corrected, listed, and told what became of each.

They import `app.api.definitions` and what lies below it.
"""
