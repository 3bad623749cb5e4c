"""The base of every request and answer, and what answers of all paths have: an error, and pages."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from app.api.schemas.fields import Count


class Model(BaseModel):
    # Only `/openapi.json` needs it built.
    model_config = ConfigDict(extra="allow", defer_build=True)


class Error(Model):
    status: int
    error: str
    code: str | None = None
    error_details: Any = None


class Meta(Model):
    current_page: Count
    next_page: int | None
    prev_page: int | None
    total_pages: Count
    total_count: Count
