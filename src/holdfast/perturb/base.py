"""What a perturbation is: batches in, outcomes out, in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

# Images float [B, C, H, W] in [0, 1] -> logits [B, K]. A classifier may bring an attribute
# `search`: another that is attacked in its place, while it confirms what is found itself.
Classifier = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Images with what identifies them; the ids key all randomness."""

    images: Tensor  # [B, C, H, W] float32 in [0, 1]
    labels: Tensor  # [B] int64
    ids: Tensor  # [B] int64, unique within a data set

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Outcome:
    """What became of some samples."""

    ids: Tensor  # [B] int64
    labels: Tensor  # [B] int64
    images: Tensor  # [B, C, H, W] what the classifier saw
    logits: Tensor  # [B, K]
    forward_evals: Tensor  # [B] int64; a pass with its gradient counts once
    gradient_evals: Tensor  # [B] int64; those of them with a gradient
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # further columns a sample, [B] each
    flags: frozenset[str] = field(default_factory=frozenset)
    condition: int = 0  # which of the perturbation's `conditions` this is about
    originals: Tensor | None = None  # the unperturbed images, where they are worth a picture

    @classmethod
    def only_flags(cls, flags: frozenset[str]) -> Outcome:
        """What can be said only at the end: no samples, but flags."""
        none = torch.zeros(0, dtype=torch.int64)
        return cls(none, none, torch.zeros(0), torch.zeros(0), none, none, flags=flags)


class Perturbation(ABC):
    """`Clean`, corruptions and attacks are its three kinds; one loop measures them all."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """Canonical text, such as `fog(severity=3)`; part of the run's identity."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Clean, corruption, noise, attack or shift."""

    def columns(self) -> Mapping[str, float | int | str | None]:
        """What the record says of it: severity, sigma, norm, eps, steps."""
        return {}

    @property
    def conditions(self) -> tuple[Perturbation, ...]:
        """What one `run` measures at once, such as an attack at several eps; else itself."""
        return (self,)

    def only(self, conditions: Sequence[Perturbation]) -> Perturbation:
        """Give the one that measures some of its `conditions`."""
        return self

    def crafted_on(self, source: str) -> Perturbation:
        """Give the one that is crafted on another model, by name; attacks can be."""
        return self

    @property
    def names(self) -> Mapping[str, Mapping[int, str]]:
        """What the codes in some extra columns stand for."""
        return {}

    @property
    def slow(self) -> bool:
        """Whether finished samples are worth keeping one by one when a run is interrupted."""
        return False

    def sized(self, batch_size: int | None) -> Perturbation:
        """Give the one that evaluates this many images at a time; None: its own choice."""
        return self

    def judge(self, samples: Mapping[str, np.ndarray]) -> frozenset[str]:
        """Flags that can be read off a finished run's samples, by column."""
        return frozenset()

    def bind(self, ids: Sequence[int]) -> Perturbation:
        """Give the one for a set of these ids; itself, unless the whole set matters."""
        return self

    @abstractmethod
    def run(self, batches: Iterable[Batch], classifier: Classifier, seed: int) -> Iterator[Outcome]:
        """Yield outcomes in any order and grouping; every sample occurs in exactly one."""


def to_8_bit(images: Tensor) -> Tensor:
    """Cut to the 256 levels of a stored picture, as the published sets were; float in and out.

    Truncates, as `np.uint8` does in the original generators. A value a thousandth of a level
    below a level is taken to mean it: float32 often stands just below.
    """
    return images.clamp(0, 1).mul(255).add_(1e-3).floor_().div_(255)


def forward_once(batch: Batch, images: Tensor, classifier: Classifier) -> Outcome:
    """Outcome of one forward pass on `images`, the perturbed images of `batch`."""
    with torch.inference_mode():
        logits = classifier(images)
    ones = torch.ones(len(batch), dtype=torch.int64)
    return Outcome(
        ids=batch.ids,
        labels=batch.labels,
        images=images,
        logits=logits,
        forward_evals=ones,
        gradient_evals=torch.zeros_like(ones),
    )
