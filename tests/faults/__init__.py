"""Faults of fault-matrix.md on real servers."""
