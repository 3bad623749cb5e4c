"""One job, one topic, one broker, several systems: what each needs for an event, side by side.

A contestant is a process of its own. It takes a task, measures itself from the first event to the
last that is durable, and leaves its output, which is compared before its figure counts.
"""
