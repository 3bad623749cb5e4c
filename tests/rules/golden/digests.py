"""The digests of the golden log's records, and the file that they stand in."""

from __future__ import annotations

import json
from hashlib import sha256

from tests.rules.golden.folds import HERE, LOG, LOG_2, Rows, folded

DIGESTS = HERE / "digests.json"


def rows() -> Rows:
    """Return the records of both folds of both logs, by kind."""
    return {**folded(LOG), **folded(LOG_2)}


def digests_of(made: Rows) -> dict[str, str]:
    """Return the SHA-256 of each kind; the length of a record goes with it."""
    found = {}
    for kind, records in made.items():
        digest = sha256()
        for record in records:
            digest.update(len(record).to_bytes(8, "big") + record)
        found[kind] = digest.hexdigest()
    return found


def known_digests() -> dict[str, str]:
    """Return the digests as they were committed."""
    known: dict[str, str] = json.loads(DIGESTS.read_text())
    return known


def write_digests() -> None:
    """Commit to what the two folds make now."""
    DIGESTS.write_text(json.dumps(digests_of(rows()), indent=2) + "\n")
