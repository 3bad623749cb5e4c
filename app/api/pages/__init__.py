"""Handlers of the page: what it shows, and its forms, asked of the API's own handlers.

They import all other handlers, and the HTML of `app.page`.
"""
