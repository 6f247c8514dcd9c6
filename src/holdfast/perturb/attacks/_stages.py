"""Where samples stand in an engine: waiting for an attack, under it, or up for confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from holdfast.core.specs import canonical
from holdfast.perturb.attacks.base import Attack, State
from holdfast.perturb.attacks.samples import Samples


def spread(values: Tensor, width: int) -> Tensor:
    """One row a sample to one row a lane: each row `width` times."""
    return values if width == 1 else values.repeat_interleave(width, 0)


def streams(attacks: Sequence[Attack]) -> list[str]:
    """Names of the streams that key the attacks' draws: their texts, and no two alike.

    An attack that is joined to itself is a restart, not the same walk once more.
    """
    texts = [canonical(attack.name, attack) for attack in attacks]
    earlier = [texts[:place].count(text) for place, text in enumerate(texts)]
    return [f"{t} #{count + 1}" if count else t for t, count in zip(texts, earlier, strict=True)]


@dataclass
class Candidates:
    """Samples whose adversarial image awaits confirmation, with the state to go on from."""

    stage: int
    samples: Samples
    images: Tensor
    state: State | None  # None: the lane's budget is spent

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(eq=False)
class Stage:
    """One attack at one eps: who waits for it, and who is under it.

    Attributes:
        attack: The attack.
        repeats: Draws of a randomized model over which gradients are averaged.
        width: Lanes of a sample that stand side by side in the state; the others come after.
        waiting: Samples, in the order in which they came.
        samples: Those under attack, [n].
        state: Of their lanes, [n * width]; those of a sample in a row.
    """

    attack: Attack
    repeats: int = 1
    width: int = 1
    waiting: list[Samples] = field(default_factory=list)
    samples: Samples | None = None
    state: State | None = None

    @property
    def live(self) -> int:
        """Samples under attack."""
        return 0 if self.samples is None else len(self.samples)

    @property
    def load(self) -> int:
        """Samples under attack or waiting."""
        return self.live + sum(len(part) for part in self.waiting)

    def join(self, samples: Samples, state: State) -> None:
        """Put samples under attack, beside those that are."""
        if self.samples is None or self.state is None:
            self.samples, self.state = samples, state
        else:
            self.samples = Samples.concat([self.samples, samples])
            self.state = type(state).concat([self.state, state])

    def room(self, slots: int) -> int:
        """How many samples fill the slots."""
        return max(1, slots // self.width)
