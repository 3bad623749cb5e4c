"""State that an earlier version wrote goes on in this one, to the same bytes."""
