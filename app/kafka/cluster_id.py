"""How a broker is known to be the one that we started: by the cluster id we formatted it with."""

from __future__ import annotations

from pathlib import Path

CLUSTER_ID_FILE = "cluster-id"


def write_cluster_id(directory: Path, cluster_id: str) -> None:
    """Remember the id beside the broker's files."""
    (directory / CLUSTER_ID_FILE).write_text(cluster_id)


def own_cluster_id(directory: Path) -> str | None:
    """Return the id of the broker whose files are in `directory`; None if there is none."""
    try:
        return (directory / CLUSTER_ID_FILE).read_text()
    except OSError:
        return None
