"""Finished samples of an evaluation in a file, so that a killed one goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError, ChangedInputError, StoreError
from holdfast.core.identity import digest_json
from holdfast.models import digest_state
from holdfast.perturb.attacks.craft import Columns, Crafting

_SECONDS = 60.0  # between keepings
_SHARE = 20  # times as long as the last keeping took: it costs 5 % of the time at most
_KEY = "holdfast_evaluation"


class State:
    """A file of finished samples, in the safetensors format whatever its name.

    Args:
        path: The file; it need not be there.
        crafting: Whose samples are kept. Those that the file holds are put into it.
        identity: Digest of all that decides the numbers.

    Raises:
        BadValueError: The file is something else.
        ChangedInputError: It is of another evaluation.
    """

    def __init__(self, path: str | Path, crafting: Crafting, identity: str) -> None:
        self._path = Path(path)
        self._crafting = crafting
        self._identity = identity
        self._due = time.monotonic() + _SECONDS
        if self._path.exists():
            self._restore()
        else:
            self.keep(now=True)  # a place that cannot be written is told before the work

    def keep(self, *, now: bool = False) -> None:
        """Write what is finished, if it is time to."""
        began = time.monotonic()
        if not now and began < self._due:
            return
        done = self._crafting.done
        columns = vars(self._crafting.levels[0])
        tensors = {name: _contiguous(column, done) for name, column in columns.items()}
        told = {"identity": self._identity, "flags": sorted(self._crafting.flags)}
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        try:
            safetensors.torch.save_file(
                {**tensors, "done": done}, part, metadata={_KEY: json.dumps(told)}
            )
            part.replace(self._path)
        except (OSError, safetensors.SafetensorError) as error:
            raise StoreError(f"cannot write the state {self._path}: {error}") from error
        finally:
            part.unlink(missing_ok=True)
        ended = time.monotonic()
        self._due = ended + max(_SECONDS, _SHARE * (ended - began))

    def _restore(self) -> None:
        told, tensors = self._read()
        if told["identity"] != self._identity:
            raise ChangedInputError(
                f"{self._path} is the state of another evaluation: the model, the images, the "
                "attacks, eps or the seed were others. Give another state_path, or delete it"
            )
        done = tensors.pop("done")
        level = self._crafting.levels[0]
        for name, column in tensors.items():
            own = getattr(level, name)
            if own.shape[1:] != column.shape[1:]:  # logits, whose classes are not known yet
                own = own.new_full((len(own), *column.shape[1:]), torch.nan)
                setattr(level, name, own)
            own[done.to(own.device)] = column.to(own.device)
        self._crafting.done = done
        self._crafting.flags |= frozenset(told["flags"])

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        wanted = {"done", *Columns.__dataclass_fields__}
        try:
            with safetensors.safe_open(self._path, framework="pt") as file:
                told = json.loads((file.metadata() or {})[_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, KeyError, ValueError, safetensors.SafetensorError):
            tensors = {}
        if set(tensors) != wanted:
            raise BadValueError(
                f"{self._path} is no state of an evaluation by holdfast; give another state_path, "
                "or delete it"
            )
        return told, tensors


def identity_of(crafting: Crafting, model: object, data: tuple[Tensor, Tensor], seed: int) -> str:
    """Digest of what decides the numbers: attacks, model, images, labels and seed.

    The model is known by its weights and by its layers as it prints them; of one that is no
    module only the name is known, so that another of that name would not be noticed.
    """
    pixels = hashlib.sha256()
    for tensor in data:
        pixels.update(tensor.detach().cpu().contiguous().numpy().data)
    named = model if hasattr(model, "__qualname__") else type(model)
    known = [named.__module__, named.__qualname__]
    if isinstance(model, nn.Module):
        known += [repr(model), digest_state(model.state_dict())]
    members = list(crafting.run.members)
    return digest_json([list(crafting.specs), members, known, pixels.hexdigest(), seed])


def _contiguous(column: Tensor, done: Tensor) -> Tensor:
    return column[done.to(column.device)].cpu().contiguous()
