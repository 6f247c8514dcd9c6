"""The package's own corruptions as augmentations.

Corrupted images are cut to 8 bits, as those are on which a network is measured. Training on the
corruptions of a benchmark makes its score say little about damage that was never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.core.specs import build, parse_spec
from holdfast.perturb.base import to_8_bit
from holdfast.perturb.conditions import EXTRA
from holdfast.perturb.corruptions import CORRUPTIONS, Corruption
from holdfast.training.augment import _checks
from holdfast.training.augment.base import BatchAugmentation, augmentation
from holdfast.training.batch import TrainingBatch

Group = tuple[Tensor, Corruption]  # rows int64 [n], and what they get


@augmentation("corruption")
@dataclass(frozen=True)
class OneCorruption(BatchAugmentation):
    """Corrupt a random share of the images, all in the same way.

    Attributes:
        of: A corruption with its severity, such as fog(severity=3) or gaussian_noise(sigma=0.1).
        p: Share of the images.
    """

    of: str = "gaussian_blur(severity=3)"
    p: float = 1.0

    def __post_init__(self) -> None:
        _checks.share(self)
        object.__setattr__(self, "of", _corruption(self.of).spec)

    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Corrupt."""
        chosen = rng.stream("whether").uniform() < self.p
        return _corrupted(batch, rng, [(chosen.nonzero()[:, 0], _corruption(self.of))])


@augmentation("corruptions")
@dataclass(frozen=True)
class Corruptions(BatchAugmentation):
    """Give a random share of the images a corruption and a severity drawn for each, evenly.

    Attributes:
        names: Corruptions to draw from; the four that ImageNet-C sets apart for validation, so
            that its 15 stay unseen, unless others are named.
        weakest: Least severity.
        strongest: Largest severity.
        p: Share of the images.
    """

    names: tuple[str, ...] = EXTRA
    weakest: int = 1
    strongest: int = 5
    p: float = 0.5

    def __post_init__(self) -> None:
        _checks.share(self)
        for field in ("weakest", "strongest"):
            _checks.whole(self, field, 1, 5, "a severity")
        if self.weakest > self.strongest:
            raise BadValueError(
                f"corruptions weakest={self.weakest} is above strongest={self.strongest}; "
                "exchange them"
            )
        if not self.names or len(set(self.names)) < len(self.names):
            raise BadValueError(
                f"corruptions names must be one or more, each once, got {list(self.names)}"
            )
        for name in self.names:
            CORRUPTIONS[name](severity=self.weakest)

    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Corrupt."""
        return _corrupted(batch, rng, self._groups(rng))

    def _groups(self, rng: Keys) -> Iterator[Group]:
        chosen = rng.stream("whether").uniform() < self.p
        which = rng.stream("which").integers(0, len(self.names))
        severities = rng.stream("severity").integers(self.weakest, self.strongest + 1)
        drawn = torch.stack([which, severities], 1)[chosen].tolist()
        for place, severity in sorted(set(map(tuple, drawn))):
            same = chosen & (which == place) & (severities == severity)
            yield same.nonzero()[:, 0], CORRUPTIONS[self.names[place]](severity=severity)


def _corruption(text: str) -> Corruption:
    spec = parse_spec(text)
    arguments: dict[str, Any] = dict(spec.arguments)
    return build("corruption", spec.name, CORRUPTIONS[spec.name], arguments)


def _corrupted(batch: TrainingBatch, rng: Keys, groups: Any) -> TrainingBatch:
    images = batch.images.clone()
    for rows, part in groups:
        if len(rows):
            keys = rng.stream(part.name).take(rows)
            drawn = part.draw((images.shape[1], images.shape[2], images.shape[3]), keys)
            images[rows] = to_8_bit(part.apply(batch.images[rows], drawn))
    return replace(batch, images=images)
