"""The live page's figures as JSON, made once a second for all who look at it.

It imports `app.api.http` and the meter's values.
"""
