"""Definitions: metrics, plans, customers, subscriptions and settings, as one append-only log."""
