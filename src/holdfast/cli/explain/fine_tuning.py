"""`holdfast explain fine-tuning`."""

from __future__ import annotations

from holdfast.cli.console import guarded


@guarded
def fine_tuning() -> None:
    """To be written."""
