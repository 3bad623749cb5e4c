"""The API's requests and answers as models: what `/openapi.json` is generated from.

They describe; what is accepted is decided by Lago's rules where each request is handled. They
import names of types from `app.definitions` and `app.billing_periods`, and nothing of ours else.
"""
