"""The faults of docs/rules/faults.md on real servers."""
