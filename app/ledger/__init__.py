"""The ledger: a partition's own arrivals on local disk, by subscription and code.

A cache of the logs: what it lacks, or what is found wrong, is read from Kafka.
"""
