"""Pictures that are held in memory, as long as they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Kept:
    """Collects `count` pictures, unless they take more than `memory` bytes."""

    def __init__(self, memory: int, count: int, *, whole: bool) -> None:
        self._memory = memory
        self._taken = 0
        self._count = count
        self._whole = whole
        self._pictures: list[Any] | None = []

    def add(self, image: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray]) -> None:
        """Keep a picture, whole or prepared."""
        if self._pictures is None:
            return
        picture = image if self._whole else channels_first(prepare(image))
        self._pictures.append(picture)
        self._taken += picture.nbytes
        # Prepared ones have one size, so that the first tells; of whole ones only the sum does.
        total = self._taken if self._whole else self._count * picture.nbytes
        if total > self._memory:
            self._pictures = None

    def finished(self) -> Tensor | list[np.ndarray] | None:
        """Prepared pictures uint8 [N, 3, h, w], whole ones [H, W, 3] each, or None."""
        if self._pictures is None or self._whole:
            return self._pictures
        stack = torch.empty(len(self._pictures), *self._pictures[0].shape, dtype=torch.uint8)
        for row, picture in enumerate(self._pictures):
            stack[row] = picture
            self._pictures[row] = None  # never two copies of all
        return stack


def channels_first(image: np.ndarray) -> Tensor:
    return torch.tensor(image).permute(2, 0, 1)
