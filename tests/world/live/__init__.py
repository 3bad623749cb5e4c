"""The kit for real servers: workers as processes, the REST API, producers and consumers."""
