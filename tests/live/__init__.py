"""The running worker on real servers."""
