"""`meter webhooks`: tells organizations what happens, at the URLs that they named.

It reads the topics of the engine, which does not know it.
"""
