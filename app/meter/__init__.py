"""What a meter is asked and answers, as plain values and protocols; HTTP is written against it.

It imports wire, the definitions, calendars and numbers, and knows no Kafka, Redis or HTTP.
"""
