"""What every handler has: the call it answers, the routes, other workers, answers sent by parts.

It imports `app.api.http` and `app.api.overview`; it knows no handler.
"""
