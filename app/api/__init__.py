"""The REST API: Lago's routes, bodies and codes, written against `app.meter`.

It imports the meter's values, the page, windows and groupings of `tables.reading` and what lies
below; never queries or the runtime.
"""
