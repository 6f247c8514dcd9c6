"""Fast adversarial training: one step from a random point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.core.errors import BadValueError
from holdfast.training.objectives._inner import Inner
from holdfast.training.objectives.adversarial import Adversarial
from holdfast.training.objectives.base import objective


@objective("fast")
@dataclass(frozen=True, kw_only=True)
class Fast(Adversarial):
    """Cross-entropy of images after one step of 1.25 eps from a uniform point of the ball.

    The cost of an attack with one gradient. Robustness so gained may vanish within an epoch
    (catastrophic overfitting), while accuracy under the one step rises; whoever trains watches
    the accuracy under an attack of several steps.

    Source: Wong, Rice and Kolter 2020, arXiv:2001.03994, algorithm 3.

    Attributes:
        attack: An attack of one step: pgd with steps=1, or fgsm, which starts at the image.
    """

    single_step: ClassVar[bool] = True

    attack: str = "pgd(norm=linf, eps=8/255, steps=1, step_size=10/255)"

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = getattr(Inner.of(self.attack).attack, "steps", 1)
        if steps != 1:
            raise BadValueError(
                f"fast attacks in one step, got {self.attack}: set steps=1, or take the objective "
                "adversarial"
            )
