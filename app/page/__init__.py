"""The page: what its views show, as HTML made from the meter's values and from JSON of the API; its
files, those of others in `static/vendor`.

It imports the meter's values, definitions, numbers and calendars; only `app.api` imports it.
"""
