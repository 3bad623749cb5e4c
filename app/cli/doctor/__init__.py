"""`meter doctor`: what is set up otherwise than it should be, and what mends it."""
