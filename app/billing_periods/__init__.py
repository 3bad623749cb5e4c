"""Billing periods: how a subscription's time line is cut, in its customer's timezone."""
