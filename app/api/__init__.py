"""The REST API: Lago's routes, bodies and codes, written against `app.meter`.

It imports the meter's values and the runtime's health, never queries.
"""
