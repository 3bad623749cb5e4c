"""All that knows aiokafka or Faust.

It imports settings, limits and errors, and nothing that folds, answers or closes.
"""
