"""The one door to lightly, which is an extra."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.distributed

from holdfast.core.errors import MissingError


def part(module: str, name: str) -> Any:
    """One name of a module of lightly, such as ("loss", "NTXentLoss").

    Raises:
        MissingError: Lightly is not installed.
    """
    try:
        return getattr(importlib.import_module(f"lightly.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingError(
            "self-supervised pretraining needs lightly, which is not installed: "
            "pip install holdfast[pretrain]"
        ) from error


def several_processes() -> bool:
    """Whether a loss must gather what the other processes have."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
