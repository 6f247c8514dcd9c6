"""Where samples stand in an engine: waiting for an attack, under it, or up for confirmation."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from holdfast.perturb.attacks.base import Attack, State
from holdfast.perturb.attacks.samples import Samples


@dataclass
class Candidates:
    """Samples whose adversarial image awaits confirmation, with the state to go on from."""

    stage: int
    samples: Samples
    images: Tensor
    state: State | None  # None: the lane's budget is spent

    def __len__(self) -> int:
        return len(self.samples)


@dataclass
class Stage:
    """One attack at one eps: who waits for it, and who is under it."""

    attack: Attack
    waiting: list[Samples] = field(default_factory=list)
    samples: Samples | None = None
    state: State | None = None

    @property
    def live(self) -> int:
        """Lanes under attack."""
        return 0 if self.samples is None else len(self.samples)

    @property
    def load(self) -> int:
        """Lanes under attack or waiting."""
        return self.live + sum(len(part) for part in self.waiting)
