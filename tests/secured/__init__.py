"""Kafka and Redis that ask who comes: real servers with TLS, SASL, ACLs, Sentinel and Cluster."""
