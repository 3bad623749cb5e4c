"""The ledger: what a partition took, on local disk by subscription and code, for whoever reads
events again.

It imports the arrivals of `app.wire` and `app.kernel`, and no Kafka: what it lacks a scan reads
there.

It is a cache of the logs: what is found wrong in it is read from Kafka as well.
"""
