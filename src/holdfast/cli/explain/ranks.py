"""`holdfast explain ranks`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def ranks() -> None:
    """To be written."""
