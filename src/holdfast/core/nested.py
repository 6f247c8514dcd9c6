"""Nested settings by dotted names."""

from __future__ import annotations

from typing import Any


def dotted(body: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one, `train.epochs` for `epochs` in `train`; an empty one is a value."""
    rows: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, dict) and value:
            rows |= dotted(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value
    return rows
