"""`holdfast explain rules`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def rules() -> None:
    """To be written."""
