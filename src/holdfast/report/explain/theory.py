"""Sections of the page: theory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.report.blocks import Content


def sections(found: Any) -> Sequence[tuple[str, str, Content]]:
    """To be written."""
    return []
