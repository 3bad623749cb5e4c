"""Real Kafka and real Redis on this machine, for `meter up`, `meter stack` and the tests."""
