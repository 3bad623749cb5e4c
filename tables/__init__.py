"""The fold: from events to cells, from cells to records. Pure: no clock, Kafka, Redis or web.

It imports the value packages of `app`, never its runtime.
"""
