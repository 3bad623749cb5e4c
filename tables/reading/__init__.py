"""What is read of a partition between two slices: usage, series, traces, proofs.

It imports partitions and closing; nothing here changes them.
"""
