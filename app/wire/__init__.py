"""Event wire formats: bytes of a Kafka record in, events, corrections or refusals out."""
