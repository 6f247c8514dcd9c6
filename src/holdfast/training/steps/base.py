"""What a training step is: from a batch to gradients on the weights.

The objective says what is minimized; a step says where in the space of weights and images its
gradient is taken, and how often a batch is used. The training loop does the rest: for each of the
step's `replays` it asks for the gradients of every part of a nominal batch and then lets the
optimizer move once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from holdfast.core.randomness import Keys
from holdfast.core.registry import Registry
from holdfast.core.specs import canonical, parse_part
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import Objective

S = TypeVar("S", bound="Step")

STEPS: Registry[type[Step]] = Registry("training step")


@dataclass
class Work:
    """What a step works with; the training loop makes it and keeps it up to date.

    Attributes:
        objective: What is minimized, with its radius of the moment.
        classifier: In training mode; its `search`, if it has one, is attacked.
        parameters: The weights that are trained; their `.grad` adds up.
        nominal: Images of the nominal batch, a process: what sums are divided by, so that the parts
            of a batch add up to its mean. Several processes may share it unevenly.
        backward: Differentiates a loss, such as accelerate's.
        buffers: What a pass in training mode changes besides, such as running statistics.
        extra: The step's own tensors; part of a checkpoint, since training goes on from them.
        start: Row of the nominal batch at which the part now seen begins.
        epoch: Epochs that are done.
    """

    objective: Objective
    classifier: Classifier
    parameters: Sequence[nn.Parameter]
    nominal: float
    backward: Callable[[Tensor], None]
    buffers: Sequence[Tensor] = ()
    extra: dict[str, Tensor] = field(default_factory=dict)
    start: int = 0
    epoch: int = 0


class Step(ABC):
    """Base of all steps; subclasses are frozen dataclasses whose fields people type."""

    name: ClassVar[str]  # set by `step`
    crafts: ClassVar[bool] = True  # by the objective, on the network as an attack sees it
    replays: Any = 1  # how often a batch is used, each time with a move of the optimizer

    def check(self, objective: Objective) -> None:  # noqa: B027 - most steps can do with any
        """Refuse an objective with which this step can do nothing.

        Raises:
            BadValueError: It is one.
        """

    @abstractmethod
    def gradients(self, work: Work, batch: TrainingBatch, rng: Keys) -> Tensor:
        """Add gradients of the sum over `batch`, divided by the nominal size, to the weights'.

        Args:
            work: See `Work`.
            batch: A nominal batch, or a part of it.
            rng: One random stream a sample.

        Returns:
            Loss of each sample, [B], where the gradients were taken; without a graph.
        """

    @property
    def spec(self) -> str:
        """Canonical text."""
        return canonical(self.name, self)


step = STEPS.named  # the decorator of each


def parse_step(text: str) -> Step:
    """Step that a person means, such as `awp(gamma=0.005)`; see `parse_part`."""
    return parse_part(STEPS, text)


def descend(work: Work, crafted: TrainingBatch) -> Tensor:
    """Add gradients at the present weights and the crafted images; the losses, [B]."""
    losses = work.objective.losses(work.classifier, crafted)
    work.backward(losses.sum() / work.nominal)
    return losses.detach()
