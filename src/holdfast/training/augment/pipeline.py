"""A recipe's augmentations in order, and who draws what.

Draws are keyed by seed, epoch, the name of the augmentation (and how many of that name went
before) and the id of the picture, or of the batch's first picture where a draw is one a batch. So
an augmentation more in the list changes none of the draws of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys, keys_for
from holdfast.core.specs import split_specs
from holdfast.training.augment._vectorized import VectorizedAugmentation
from holdfast.training.augment.base import (
    Augmentation,
    BatchAugmentation,
    SampleAugmentation,
    SourceAugmentation,
    parse_augmentation,
)
from holdfast.training.augment.mixing import MixingAugmentation
from holdfast.training.batch import TrainingBatch

_KINDS: tuple[type[Augmentation], ...] = (SourceAugmentation, SampleAugmentation, BatchAugmentation)
_WORKS_ON = ("the stored picture", "pictures of the network's size", "a batch")
_STREAMS = {"random_noise": "noise"}  # its numbers have always been of this stream


@dataclass(frozen=True)
class Epoch:
    """What keys the draws beside the pictures themselves.

    Attributes:
        seed: The run's seed.
        epoch: Counts from 1.
    """

    seed: int
    epoch: int

    def keys(self, ids: Tensor, what: str) -> Keys:
        """One random stream a picture."""
        return keys_for(ids, seed=self.seed, stream=f"training {what} {self.epoch}")


@dataclass(frozen=True)
class Pipeline:
    """Augmentations in the order in which they are applied.

    Methods that apply leave torch's global generator in another state; put it back afterwards.

    Attributes:
        specs: Their texts, such as ("crop(padding=4)", "flip", "mixup(alpha=0.3)"), or one text
            with commas between; kept in canonical form.
        parts: What the texts mean.

    Raises:
        UnknownNameError: No such augmentation or parameter.
        BadValueError: A value out of range, two parts that cut the stored picture, or an order
            other than stored picture, picture, batch.
    """

    specs: Sequence[str] = ()
    parts: tuple[Augmentation, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = split_specs(self.specs) if isinstance(self.specs, str) else self.specs
        parts = tuple(parse_augmentation(text) for text in texts)
        _check_order(parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "specs", tuple(part.spec for part in parts))

    @property
    def needs_source(self) -> bool:
        """Whether the stored pictures are needed, before they have the network's size."""
        return any(isinstance(part, SourceAugmentation) for part in self.parts)

    @property
    def reach(self) -> int:
        """How many images before an image, in the batch, can be mixed into it."""
        return sum(isinstance(part, MixingAugmentation) for part in self.parts)

    def cut(
        self, pictures: Sequence[np.ndarray], ids: Tensor, size: tuple[int, int], moment: Epoch
    ) -> Tensor:
        """Stored pictures uint8 [H, W, 3] to uint8 [B, 3, h, w] of the size (h, w).

        For pipelines that `needs_source`.
        """
        part = self.parts[0]
        if not isinstance(part, SourceAugmentation):
            raise TypeError(f"{part.spec} does not cut stored pictures")
        cut = []
        seeds = moment.keys(ids, self._streams()[0]).bits().tolist()
        for picture, seed in zip(pictures, seeds, strict=True):
            torch.default_generator.manual_seed(seed)
            cut.append(torch.tensor(part.cut(picture, size)))
        return torch.stack(cut).permute(0, 3, 1, 2).contiguous()

    def change(self, images: Tensor, ids: Tensor, moment: Epoch) -> Tensor:
        """Change each picture of uint8 [B, 3, h, w] by its own draws; another tensor comes back."""
        for part, stream in zip(self.parts, self._streams(), strict=True):
            keys = moment.keys(ids, stream)
            if isinstance(part, VectorizedAugmentation):
                images = part.change_all(images, keys)
            elif isinstance(part, SampleAugmentation):
                images = _one_by_one(part, images, keys)
        return images

    def mix(self, batch: TrainingBatch, first: Tensor, moment: Epoch) -> TrainingBatch:
        """Change a batch.

        Args:
            batch: Images that are changed already.
            first: Id of the first image of the whole batch, int64 [1]; `batch` may be a part.
            moment: Seed and epoch.
        """
        for part, stream in zip(self.parts, self._streams(), strict=True):
            if isinstance(part, BatchAugmentation):
                # Not `torch.manual_seed`: it reseeds every device, a hundred times slower.
                torch.default_generator.manual_seed(
                    int(moment.keys(first, stream).stream("batch").bits())
                )
                batch = part.mix(batch, moment.keys(batch.ids, stream))
        return batch

    def _streams(self) -> list[str]:
        """A name for the draws of each part."""
        seen: Counter[str] = Counter()
        streams = []
        for part in self.parts:
            seen[part.name] += 1
            word = _STREAMS.get(part.name, part.name)
            streams.append(word if seen[part.name] == 1 else f"{word} #{seen[part.name]}")
        return streams


def _one_by_one(part: SampleAugmentation, images: Tensor, keys: Keys) -> Tensor:
    changed = torch.empty_like(images)
    for row, seed in enumerate(keys.bits().tolist()):
        torch.default_generator.manual_seed(seed)
        changed[row] = part.change(images[row])
    return changed


def _check_order(parts: Sequence[Augmentation]) -> None:
    for before, after in pairwise(parts):
        one, two = _kind(before), _kind(after)
        if one == two == 0:
            raise BadValueError(
                f"{before.name} and {after.name} both cut the stored picture; keep one of them"
            )
        if one > two:
            ordered = ", ".join(part.spec for part in sorted(parts, key=_kind))
            raise BadValueError(
                f"{after.name} changes {_WORKS_ON[two]} and cannot follow {before.name}, which "
                f"changes {_WORKS_ON[one]}; did you mean {ordered}?"
            )


def _kind(part: Augmentation) -> int:
    return next(place for place, kind in enumerate(_KINDS) if isinstance(part, kind))
