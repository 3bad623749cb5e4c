"""Lago's own clients against a running worker."""
