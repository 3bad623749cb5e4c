"""Conformance vectors run through the product's own code; their format is the README's."""
