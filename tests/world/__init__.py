"""The one kit of the tests. A suite imports it and its own folder, never another suite.

What lies here needs no server: a clock, definitions, events, and partitions that fold them.
`tests.world.live` has the rest: servers, workers, the REST API, producers and consumers.
"""
