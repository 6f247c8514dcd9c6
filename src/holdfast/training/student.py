"""The network that learns: its modes while it trains, and while images are crafted on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models import Classifier
from holdfast.models.training_copy import CraftingCopy
from holdfast.training.protocols import BATCH_NORMS, Learning

Crafting = Literal["eval", "batch", "train"]


class Whole(nn.Module):
    """Preprocessing, network, and what a self-supervised objective adds, as one module."""

    def __init__(self, classifier: Classifier, companion: nn.Module | None = None) -> None:
        super().__init__()
        self.net = cast("nn.Module", classifier.net)
        self.companion = companion
        self._forward = classifier.forward

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or projections of a companion, of images [B, C, H, W] in [0, 1]."""
        found = self._forward(images)
        return found if self.companion is None else self.companion(found)


class Student:
    """Callable on images in training mode; `search` is what attacks see.

    What is frozen stays in evaluation mode whatever anyone else has called on the network: the
    modes are set before each pass.

    Args:
        classifier: The network with its preprocessing.
        module: `Whole`, as it is or as accelerate wraps it.
        learning: Which layers are in training mode.
        crafting: See `TrainSection.crafting`.
        twin: Of the network in evaluation mode; faster to craft on. None: the network itself.
    """

    def __init__(
        self,
        classifier: Classifier,
        module: nn.Module,
        learning: Learning,
        *,
        crafting: Crafting,
        twin: CraftingCopy | None = None,
    ) -> None:
        self.classifier = classifier
        self.module = module
        self._learning = learning
        self._crafting = crafting
        self._mode = ""
        self._twin = twin
        self._moved = True  # since the twin's last refresh

    def __call__(self, images: Tensor) -> Tensor:
        self._enter("train")
        logits: Tensor = self.module(images)
        if torch.is_grad_enabled() and not logits.requires_grad:
            raise BadValueError(
                f"the output of {self.classifier.name} carries no gradients, so nothing could "
                "learn: it computes under no_grad, detaches, or leaves torch; let it keep them "
                "in training mode"
            )
        return logits

    @property
    def companion(self) -> Any:
        """What a self-supervised objective adds; None for others."""
        whole = getattr(self.module, "module", self.module)
        return whole.companion

    @property
    def search(self) -> Callable[[Tensor], Tensor]:
        """What images are crafted on: logits in the mode that the recipe says."""
        if self._twin is None:
            return self._crafted
        if self._moved:
            self._twin.refresh()
            self._moved = False
        return self._twin

    def _crafted(self, images: Tensor) -> Tensor:
        self._enter(self._crafting)
        if self._crafting != "batch":
            return self.classifier.forward(images)
        with _unchanged([norm for norm in self._norms() if norm.training]):
            return self.classifier.forward(images)

    def moved(self) -> None:
        """Note that the weights have changed."""
        self._moved = True

    def resume(self) -> None:
        """Set the modes anew: someone else has had the network."""
        self._mode = ""
        self._moved = True

    def _enter(self, mode: str) -> None:
        if mode == self._mode:
            return
        if mode == "train":
            self._learning.modes()
        elif mode == "eval":
            self._net.eval()
        else:
            # Frozen statistics stay what they are.
            self._learning.modes()
            learning = [norm for norm in self._norms() if norm.training]
            self._net.eval()
            for norm in learning:
                norm.train()
        self._mode = mode

    @property
    def _net(self) -> nn.Module:
        return cast("nn.Module", self.classifier.net)

    def _norms(self) -> list[nn.Module]:
        return [m for m in self._net.modules() if isinstance(m, BATCH_NORMS)]


@contextmanager
def _unchanged(norms: list[nn.Module]) -> Iterator[None]:
    """Let norms in training mode use batch statistics, and leave the running ones as they are."""
    kept: list[tuple[Any, bool]] = []
    for norm in norms:
        any_norm: Any = norm
        kept.append((any_norm, any_norm.track_running_stats))
        any_norm.track_running_stats = False
    try:
        yield
    finally:
        for any_norm, tracking in kept:
            any_norm.track_running_stats = tracking
