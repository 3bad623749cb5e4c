"""The definitions log applied: metrics, plans, customers, subscriptions and settings.

It imports billing periods, expressions, numbers and bounds.
"""
