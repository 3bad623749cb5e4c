"""All that knows aiokafka or Faust.

It imports settings, limits, errors and what headers are in `app.wire`, and nothing that folds,
answers or closes.
"""
