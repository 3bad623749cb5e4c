"""Quix Streams: count and sum of each key, exactly once, state in RocksDB and its changelog.

It runs in an environment of its own. A message key is a subscription; the state has its codes.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State
from quixstreams.checkpointing import Checkpoint

from bench.contest.task import Watch, pair_of, told

task = told()
watch = Watch()
commit = Checkpoint.commit


def committed(checkpoint: Checkpoint, *arguments: Any, **named: Any) -> None:
    """Commit, and note that what was taken until then is durable."""
    commit(checkpoint, *arguments, **named)
    watch.end()


def count(body: dict[str, Any], state: State) -> dict[str, Any]:
    """Count an event and add its value."""
    watch.begin()
    _, code, gb = pair_of(body)
    before, total = state.get(code, (0, 0.0))
    state.set(code, (before + 1, total + gb))
    return body


def main() -> None:
    """Take all records."""
    Checkpoint.commit = committed
    app = Application(
        broker_address=task.servers,
        consumer_group=task.group,
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        state_dir=task.directory + "/state",
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(task.topic, value_deserializer="json"))
    frame = frame.filter(lambda body: body is not None)
    frame.apply(count, stateful=True)
    app.run(count=task.records, timeout=60, collect=False)
    watch.write(task)


if __name__ == "__main__":
    main()
