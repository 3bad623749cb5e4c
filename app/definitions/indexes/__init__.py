"""What the definitions are looked up by: an index for each type of object takes changes over.

Modules here import the values of `app.definitions` and nothing that decides, looks up or applies.
"""
