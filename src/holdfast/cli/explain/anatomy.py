"""`holdfast explain anatomy`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def anatomy() -> None:
    """To be written."""
