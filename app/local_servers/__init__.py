"""A real Kafka and a real Redis on this machine, for `meter up`, `meter stack` and the tests.

It imports `app.kafka`, settings and what they stand on.
"""
