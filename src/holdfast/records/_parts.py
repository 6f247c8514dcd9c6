"""Parts of records that are kept as JSON; a number without data is NaN here and null there."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _no_data(value: Any) -> Any:
    return math.nan if value is None else value


Number = Annotated[float, BeforeValidator(_no_data)]


class Part(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)
