"""The partitions a worker owns: taking them over, folding, flushing and giving them up.

It may import `app.kafka`, `app.redis`, `app.ledger`, `app.wire`, `app.meter`, `app.definitions`,
`tables` and what lies below them; not `agents`, `app.api`, `app.queries` or `app.cli`.
"""
