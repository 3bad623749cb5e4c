"""The event index beside a plain dict, whatever happens to both."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tables.event_index.entries import Entry, unpack_entry
from tables.event_index.index import EventIndex
from tables.event_index.log import LOG_START
from tests.tables.event_index.test_index import entries, ids, packed
from tests.world.profiles import count


class IndexAgainstDict(RuleBasedStateMachine):
    """Whatever happens, the index answers like the dict of the log's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.index = EventIndex()
        self.log: list[tuple[bytes, Entry]] = []
        self.flushed: list[int] = [0]

    @initialize(
        on_disk=st.booleans(),
        head_rows=st.integers(1, 40),
        memory_bytes=st.sampled_from([1, 60_000, 100_000_000]),
    )
    def begin(self, on_disk: bool, head_rows: int, memory_bytes: int) -> None:
        self.on_disk = on_disk
        self.head_rows = head_rows
        self.memory_bytes = memory_bytes
        self.index = self.opened()

    def opened(self) -> EventIndex:
        return EventIndex(
            self.root / "index" if self.on_disk else None,
            memory_bytes=self.memory_bytes,
            identity="p",
            head_rows=self.head_rows,
        )

    def teardown(self) -> None:
        self.index.close()
        shutil.rmtree(self.root)

    @property
    def known(self) -> dict[bytes, Entry | None]:
        """The newest entry of each id, None once it was refused."""
        return {i: None if e.array_index == 65_535 else e for i, e in dict(self.log).items()}

    @rule(added=st.lists(st.tuples(ids, entries), max_size=60))
    def add(self, added: list[tuple[bytes, Entry]]) -> None:
        self.index.add_many([event_id for event_id, _ in added], [e for _, e in added])
        self.log += added

    @rule(event_id=ids, winner=entries)
    def replace(self, event_id: bytes, winner: Entry) -> None:
        self.index.add_many([event_id], [winner])
        self.log.append((event_id, winner))

    @rule(event_id=ids, taken=entries)
    def refuse(self, event_id: bytes, taken: Entry) -> None:
        self.index.refuse(event_id, taken)
        self.log.append((event_id, taken._replace(array_index=65_535)))

    @rule(asked=st.lists(ids, max_size=80))
    def find(self, asked: list[bytes]) -> None:
        assert self.index.find_many(asked) == [self.known.get(event_id) for event_id in asked]

    @rule(came=st.lists(st.tuples(ids, entries), max_size=80))
    def know(self, came: list[tuple[bytes, Entry]]) -> None:
        """What the index tells of a row at once is what it answers when it is asked."""
        found, seen = self.index.known(packed(came)), {event_id for event_id, _ in self.log}
        expected = set[int]()
        for place, (event_id, _) in enumerate(came):
            if event_id in seen:
                expected.add(place)
            seen.add(event_id)
        assert found.keys() == expected
        told = {place: unpack_entry(row) for place, row in found.items() if row is not None}
        assert told == {place: self.known[came[place][0]] for place in told}

    @rule(between=st.lists(st.tuples(ids, entries), max_size=60))
    def flush(self, between: list[tuple[bytes, Entry]]) -> None:
        """Rows added while the flush commits belong to the next one."""
        payload = self.index.pending()
        assert payload == packed(self.log[self.flushed[-1] :])
        end = len(self.log)
        self.add(between)
        self.flushed.append(end)
        self.index.seal_flush(len(self.flushed) - 1)
        assert self.index._flushed.length == end

    @rule()
    def seal_without_asking(self) -> None:
        self.flushed.append(len(self.log))
        self.index.seal_flush(len(self.flushed) - 1)
        assert self.index._flushed.length == len(self.log)

    @rule(share=st.floats(0, 1), unread=st.floats(0, 1))
    def truncate(self, share: float, unread: float) -> None:
        length = int(share * len(self.log))
        kept = self.index.truncate(length)
        assert kept <= length
        self.settle_at_flush(unread)

    @precondition(lambda self: self.on_disk)
    @rule(clean=st.booleans(), unread=st.floats(0, 1))
    def reopen(self, clean: bool, unread: float) -> None:
        flushed = self.flushed[-1]
        if clean:
            # What the head and whole segments hold of the last flush must survive.
            whole = self.index.truncate(flushed)
            self.index.close()
        else:
            self.stop_uncleanly()
        self.index = self.opened()
        assert self.index._flushed.length <= flushed
        if clean:
            assert self.index._flushed.length == whole
        self.settle_at_flush(unread)

    def stop_uncleanly(self) -> None:
        shutil.copytree(self.root / "index", self.root / "as it stood")
        self.index.close()
        shutil.rmtree(self.root / "index")
        (self.root / "as it stood").rename(self.root / "index")

    def settle_at_flush(self, share: float) -> None:
        """The log is cut to where the index stands, then the flushed rest is loaded again.

        `share`: of what the index has the log is not read.
        """
        index = self.index
        assert index.length == index._flushed.length
        last_flush = self.flushed[-1]
        rest = [(number, end) for number, end in enumerate(self.flushed) if end > index.length]
        full_log = self.log[:last_flush]
        assert index.is_of_log == (index.length == 0)
        first = int(share * index.length)
        if index.length:
            index.read_from(LOG_START.after(packed(full_log[:first])))
        index.load(packed(full_log[first : index.length]))
        assert index.is_of_log
        for number, end in rest:
            index.load(packed(full_log[index.length : end]))
            index.seal_flush(number)
        self.log = full_log

    @invariant()
    def lengths_agree(self) -> None:
        assert self.index.length == len(self.log)

    @invariant()
    def everything_is_found(self) -> None:
        known = self.known
        assert self.index.find_many(list(known)) == list(known.values())


TestIndexAgainstDict = IndexAgainstDict.TestCase
TestIndexAgainstDict.settings = settings(
    max_examples=count(60),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
