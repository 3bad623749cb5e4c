"""Types and models that several requests and answers share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
OptionalText = str | None
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")]
Units = Annotated[str, Field(pattern=r"^\d+\.\d+$")]
Count = Annotated[int, Field(ge=0)]
Numeric = int | float | str
Properties = dict[str, Any]
ChargeModel = Literal[
    "standard",
    "graduated",
    "package",
    "percentage",
    "volume",
    "graduated_percentage",
    "custom",
    "dynamic",
]


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
