"""`holdfast explain advise`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def advise() -> None:
    """To be written."""
