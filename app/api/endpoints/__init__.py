"""Every endpoint there is: its path, its handler and what `/openapi.json` says of it.

It imports the handlers of `app.api`, `app.api.schemas`, `app.api.answering` and names of types.
"""
