"""The read side: answers from the partitions owned here, by the protocols of `app.meter.interface`.

It imports the runtime and the tables; it does not know `app.api`, nor does that know it.
"""
