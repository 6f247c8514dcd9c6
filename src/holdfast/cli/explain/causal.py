"""`holdfast explain causal`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def causal() -> None:
    """To be written."""
