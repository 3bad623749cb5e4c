"""Seeded simulation: faults as values around the real engine, fold, tables and close code."""
