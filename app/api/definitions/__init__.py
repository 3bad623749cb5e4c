"""Handlers of what is defined: read, changed, previewed, and who changed it.

They import `app.api.answering` and what lies below it.
"""
