"""Types of fields: what a text, an instant or a number of requests and answers may be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

Text = Annotated[str, Field(min_length=1)]
OptionalText = str | None
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")]
Units = Annotated[str, Field(pattern=r"^\d+\.\d+$")]
Count = Annotated[int, Field(ge=0)]
Numeric = int | float | str
Properties = dict[str, Any]
