"""Growth: what an operation costs while something else grows tenfold, and tenfold again.

Each row is played at three sizes. Work is counted: what is touched, by kind, and the steps that
Python's interpreter takes. Neither hangs on the machine. CPU time stands beside it.

    python -m bench.growth [ROW ...]
"""
