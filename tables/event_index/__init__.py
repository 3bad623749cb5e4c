"""The event index: every event id ever seen, in memory and on local disk.

It imports `app.kernel` and steps of `app.bounds`.

Why not a library: rocksdict 0.3.29 (batch get, WriteBatch, Bloom filters, no log of its own) was
to be taken if find and add together stayed within 1.0 us of CPU an event. Slices of 1,000 new ids,
2-core machine, Python 3.11, us of CPU an event over the whole filling, `python -m bench.dedupe`:

    rows         rocksdict find + add, all    this index find + add, all    longest slice
      100,000       0.86 + 0.64, 1.51            0.10 + 0.50, 0.60               7 ms
    1,000,000       1.91 + 0.86, 2.77            0.21 + 0.49, 0.70               6 ms
    5,000,000       2.51 + 1.09, 3.61            0.32 + 0.57, 0.89              10 ms

("all" has background threads; rocksdict got its rows packed, packing is a third of our add.) It
also could not keep whole flushes apart, nor notice a damaged file before it is read. A known id
costs 3 to 6 us, a cold filter (no room in memory) about 0.8 us an id and segment.
"""
