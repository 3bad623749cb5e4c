"""Taking a partition over: its state read back, or folded anew where that is torn.

It imports `app.runtime.partition` and what lies below it; never the engine.
"""
