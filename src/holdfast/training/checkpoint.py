"""Where a run stands, in one file of tensors with its numbers in the header; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.records import write_whole

_KEY = "holdfast"
State = dict[str, Tensor]


def save_tensors(path: Path, tensors: State, numbers: dict[str, Any] | None = None) -> None:
    """Write tensors, and plain numbers beside them, whole or not at all.

    Raises:
        StoreError: The file cannot be written.
    """
    # Tied weights share memory, which the format refuses.
    apart = {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}
    header = {} if numbers is None else {_KEY: json.dumps(numbers)}
    write_whole(path, lambda part: _written(part, apart, header))


def _written(part: Path, tensors: State, header: dict[str, str]) -> None:
    # Created by us, so that it has the usual permissions: theirs are for the owner alone.
    part.touch()
    mode = part.stat().st_mode
    safetensors.torch.save_file(tensors, part, header)
    part.chmod(mode)


def read_tensors(path: Path) -> tuple[State, dict[str, Any]]:
    """Tensors on the CPU, and the numbers.

    Raises:
        BadValueError: No such file as `save_tensors` writes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        return tensors, json.loads(header.get(_KEY, "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise BadValueError(
            f"{path} is not a checkpoint that `holdfast train` wrote ({error}); delete it to begin "
            "again"
        ) from error


@contextmanager
def fits(path: Path) -> Iterator[None]:
    """Say that what a file holds does not fit this run.

    Raises:
        BadValueError: It does not.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, HoldfastError):
            raise
        raise BadValueError(
            f"{path} is not a checkpoint of this run ({type(error).__name__}: {error}); bring back "
            "its own, or delete it to begin again"
        ) from error


def pack(**groups: State) -> State:
    """Put several states into one, each under its name."""
    return {f"{group}.{key}": value for group, s in groups.items() for key, value in s.items()}


def unpack(tensors: State, group: str) -> State:
    """Take one of them out again."""
    start = f"{group}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def optimizer_state(optimizer: Any) -> tuple[State, dict[str, Any]]:
    """What an optimizer remembers of its parameters: tensors and plain numbers."""
    tensors: State = {}
    numbers: dict[str, Any] = {}
    for place, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{place}.{key}"] = value
            elif value is not None:
                numbers[f"{place}.{key}"] = value
    return tensors, numbers


def restore_optimizer(optimizer: Any, tensors: State, numbers: dict[str, Any]) -> None:
    """Give it back what it remembered; its groups stay what they are."""
    memory: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        place, _, key = name.partition(".")
        memory.setdefault(int(place), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": memory, "param_groups": groups})
