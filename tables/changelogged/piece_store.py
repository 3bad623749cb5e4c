"""What a log of one partition comes to on local disk, in pieces by subscription and time.

It is a cache of the log, and holds what is committed only. SQLite keeps it whole when the process
ends. Nothing is synced: of a machine that has started anew it is discarded. What the disk has
altered is noticed by the hash of each piece.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
import xxhash

from app.bounds.discards import Discarded, DiscardReason, tell_nobody

PeriodKey = tuple[str, int]
"""(subscription id, period start ms)"""

_HASH_BYTES: Final = 8
_CACHE_KIB: Final = 256
"""Memory that SQLite takes of a partition for what it has read or written last."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_FORMAT: Final = 3
_MAKE: Final = """
CREATE TABLE IF NOT EXISTS stands (one INTEGER PRIMARY KEY CHECK (one = 1), packed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS periods (
    start_ms INTEGER NOT NULL, subscription_id TEXT NOT NULL, piece BLOB NOT NULL,
    PRIMARY KEY (start_ms, subscription_id)
) WITHOUT ROWID;
"""


class PiecesLost(OSError):
    """Local disk does not give what was written to it; it is made again from its log."""


StandsT = TypeVar("StandsT")
"""How far the log is on local disk."""


class PieceStore(Generic[StandsT]):
    """The file of one partition. One thread at a time."""

    def __init__(
        self,
        path: Path,
        identity: str,
        stands: type[StandsT],
        tell: Callable[[Discarded], None] = tell_nobody,
    ):
        """Open what is there; `identity` says whose it is, and of another one it is discarded.

        `tell` is called whenever it is discarded as it is not what it should be.
        """
        self._path = path
        self._tell = tell
        self._type = stands
        self._identity = f"{identity} {_machine_start()}"
        self.disk_error: str | None = None
        """Why local disk took nothing when it was tried last."""
        self._db: sqlite3.Connection | None = None
        self._lost = False
        self.stands: StandsT | None = None
        """None: it has nothing."""
        self._refused = Discarded("unfinished", "it has no first commit")
        """Why what was there when it was opened is of no use, if so it is."""
        if path.exists():
            self._open()
            if self.stands is None:
                tell(self._refused)
                self._remove()

    def find(self, name: PeriodKey) -> bytes | None:
        """Return a piece, None if there is none.

        Raises:
            PiecesLost: it is not what was written. All of it is discarded, and who opens it
                again begins anew: until then nothing is found.
        """
        query = "SELECT piece FROM periods WHERE start_ms = ? AND subscription_id = ?"
        found = self._asked(query, name[1], name[0])
        if found is None:
            return None
        signed: bytes = found[0]
        piece = signed[_HASH_BYTES:]
        if signed[:_HASH_BYTES] != _hash(name, piece):
            raise self._lose("damaged", f"{self._path} has other bytes than were written to it")
        return piece

    def reach(self) -> tuple[int, int] | None:
        """Return the first and the last time that a piece is of, in ms; None: there is no piece.

        Raises: as `find`.
        """
        # Each by itself is found in the index.
        first = self._asked("SELECT min(start_ms) FROM periods")
        last = self._asked("SELECT max(start_ms) FROM periods")
        if first is None or last is None or first[0] is None:
            return None
        return first[0], last[0]

    def _asked(self, query: str, *about: Any) -> tuple[Any, ...] | None:
        """Return the first row of an answer; None: there is none."""
        if self._lost:
            raise PiecesLost(f"{self._path} is closed, or has lost what was written to it")
        if self._db is None:
            return None
        try:
            row: tuple[Any, ...] | None = self._db.execute(query, about).fetchone()
        except sqlite3.Error as error:
            raise self._lose(_reason_of(error), f"{self._path}: {error}") from error
        return row

    @property
    def is_writing(self) -> bool:
        """Whether anything was written that is not made last."""
        return self._db is not None and self._db.in_transaction

    def write(self, pieces: Iterable[tuple[PeriodKey, bytes]]) -> bool:
        """Write pieces, which `commit` makes last; return whether local disk takes them."""
        if self._db is None and not self._lost:
            self._open()
        if self._db is None:
            return False
        rows = [(name[1], name[0], _hash(name, piece) + piece) for name, piece in pieces]
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO periods VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._fail(error)
            return False
        return True

    def commit(self, stands: StandsT) -> bool:
        """Let what `write` wrote last; return whether it does."""
        if self._db is None:
            return False
        packed = msgspec.msgpack.encode((_FORMAT, self._identity, stands))
        try:
            if self.stands is None:
                # From here on a process that ends must leave it whole.
                self._db.execute("COMMIT")
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO stands VALUES (1, ?)", (packed,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)
            return False
        self.stands, self.disk_error = stands, None
        return True

    def discard(self) -> None:
        """Begin anew, without anything."""
        self._remove()
        self._lost = False

    def _lose(self, reason: DiscardReason, text: str) -> PiecesLost:
        self._lost = True
        self._remove()
        self._tell(Discarded(reason, text))
        return PiecesLost(text)

    def _remove(self) -> None:
        self._disconnect()
        self.stands = None
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()

    def close(self) -> None:
        """Let go of the file; what was not made last is gone, and nothing is found any more."""
        self._lost = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            # Where nobody tells when the machine started, the power may have ended in between.
            synced = "OFF" if _BOOT_ID.exists() else "NORMAL"
            self._db.execute(f"PRAGMA synchronous = {synced}")
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._db.executescript(_MAKE)
            found = self._db.execute("SELECT packed FROM stands").fetchone()
            stands = None if found is None else self._known(found[0])
            # What begins anew is discarded where it does not get to its first commit.
            self._db.execute(f"PRAGMA journal_mode = {'OFF' if stands is None else 'WAL'}")
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            self._disconnect()
            self.disk_error = str(error)
            self._refused = Discarded(_reason_of(error), str(error))
        else:
            self.stands = stands

    def _known(self, packed: bytes) -> StandsT | None:
        """Return how far it is; None: it is somebody else's, or of another program."""
        version, identity, stands = _decode(packed)
        if version != _FORMAT:
            self._refused = Discarded("version", f"it has format {version}, not {_FORMAT}")
        elif identity != self._identity:
            # The last word of an identity tells the start of the machine.
            same = identity.rsplit(" ", 1)[0] == self._identity.rsplit(" ", 1)[0]
            text = f"it belongs to {identity!r}, not {self._identity!r}"
            self._refused = Discarded("machine" if same else "another", text)
        else:
            return msgspec.convert(stands, self._type)
        return None

    def _fail(self, error: sqlite3.Error) -> None:
        self.disk_error = str(error)
        if self.stands is None:
            self._remove()
        elif self._db is not None:
            with suppress(sqlite3.Error):
                self._db.rollback()


def _machine_start() -> str:
    """Return what tells one start of this machine from another, where it tells."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _reason_of(error: Exception) -> DiscardReason:
    is_disk = isinstance(error, OSError | sqlite3.OperationalError)
    return "unreadable" if is_disk else "damaged"


def _hash(name: PeriodKey, piece: bytes) -> bytes:
    start = xxhash.xxh3_64_intdigest(f"{name[0]}/{name[1]}".encode())
    return xxhash.xxh3_64_digest(piece, start)


_decode = msgspec.msgpack.Decoder(list[Any]).decode
