"""What the sections of a recipe have in common: strictness, and checks of a single field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """Base of a recipe's sections: frozen, and no field but the declared ones.

    Numbers are finite, and true is no number, though it is one to Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError(f"expected no true or false here, got {str(value).lower()}")
        return value


_MOST = 2**14  # pixels of a side; larger ones fit into no memory


def sides(value: Any) -> int | tuple[int, int] | None:
    """One side of a square in pixels, or height and width where they differ.

    Raises:
        ValueError: Anything else.
    """
    if value is None:
        return None
    both = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(both) != 2 or not all(type(side) is int and side > 0 for side in both):
        raise ValueError(f"expected pixels, as in 224 or [224, 160], got {value!r}")
    if max(both) > _MOST:
        raise ValueError(f"expected at most {_MOST} pixels a side, got {value!r}")
    height, width = both
    return height if height == width else (height, width)


def rising(places: tuple[float, ...]) -> tuple[float, ...]:
    """The places, if each is above the one before and the first above 0.

    Raises:
        ValueError: They are not.
    """
    if any(after <= before for before, after in zip((0.0, *places), places, strict=False)):
        raise ValueError(f"expected rising numbers above 0, as in [75, 90], got {list(places)}")
    return places
