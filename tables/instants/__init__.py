"""Instants: what each event of a charge paid in advance adds to the bill when it comes."""
