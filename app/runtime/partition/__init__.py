"""An owned partition: what it folds, decides and waits for, and its flush.

It imports `app.runtime.topics` and the shared context of `app.runtime`; never the engine.
"""
