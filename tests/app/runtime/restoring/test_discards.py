"""Local disk that is of no use is told, whatever it is of, and made again."""

from __future__ import annotations

from pathlib import Path

from app.bounds.turns import drained
from app.definitions.state import Definitions
from app.runtime.restoring.rebuild import open_figures, open_index, published_store
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.published import Stands
from tables.event_index.entries import Entry
from tests.app.runtime.alone import context_of


def test_local_disk_that_is_of_no_use_is_told(tmp_path: Path) -> None:
    shared = context_of(Definitions(), state_dir=tmp_path)
    index, figures = open_index(3, shared, 1), open_figures(3, shared, 1)
    index.add_many([b"some event  "], [Entry(0, 0, 0, 0, -1, 0)])
    figures.put(b"some event  ", b"row")
    drained(figures.taking())
    index.pending()
    for log in (index, figures):
        log.seal_flush(1)
    store = published_store(3, shared)
    assert store.write([(("s", 0), b"piece")])
    assert store.commit(Stands(1, ChangelogSum()))
    for each in (index, figures, store):
        each.close()
    assert not shared.discards.counts
    # It was begun anew meanwhile, by somebody else.
    for later in (open_index(3, shared, 2), open_figures(3, shared, 2)):
        later.close()
    path = shared.settings.directory_of("published") / "3.db"
    path.write_bytes(bytes(5_000))
    published_store(3, shared).close()
    assert shared.discards.counts == {
        ("index", "another"): 1,
        ("figures", "another"): 1,
        ("published", "damaged"): 1,
    }
