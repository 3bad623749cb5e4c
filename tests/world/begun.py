"""A verification or a preview that has taken all steps of its beginning."""

from __future__ import annotations

from typing import TypeVar

from app.bounds.turns import drained
from tables.reading.preview import Preview
from tables.reading.verification import Verification

Job = TypeVar("Job", Verification, Preview)


def begun(job: Job) -> Job:
    """Begin at once, where no loop has other work to do."""
    drained(job.beginning())
    return job
