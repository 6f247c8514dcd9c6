"""Lane-first tensors that travel together: what an attack keeps, and what the engine keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass
class Lanes:
    """Base of dataclasses whose fields are all tensors with the lane as first axis.

    A lane is one sample under one restart or one target class.
    """

    def __len__(self) -> int:
        first: Tensor = next(iter(vars(self).values()))
        return first.shape[0]  # asked in every step: neither `fields` nor `len`, which cost more

    def take(self, index: Tensor) -> Self:
        """Copy some lanes: int64 indices [M] or a mask [L]."""
        return type(self)(**{name: tensor[index] for name, tensor in vars(self).items()})

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Lanes of all parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
        return type(parts[0])(**{name: torch.cat(column) for name, column in columns.items()})
