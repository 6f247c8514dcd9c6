"""`holdfast explain theory`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def theory() -> None:
    """To be written."""
