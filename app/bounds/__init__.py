"""What an input may cost, and who may run now.

Modules here import `app.log` at most, so that every other module may import them.
"""
