"""DINO: a network foretells what a slow average of itself says of another view."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from holdfast.core.errors import BadValueError
from holdfast.perturb.base import Classifier
from holdfast.training.objectives.base import objective
from holdfast.training.pretrain._lightly import part
from holdfast.training.pretrain.base import (
    SelfSupervised,
    View,
    companion_of,
    positive,
    projections,
)


@objective("dino")
@dataclass(frozen=True, kw_only=True)
class DINO(SelfSupervised):
    """Cross-entropy between the teacher's sharpened, centered answer and the student's.

    Source: Caron et al. 2021, arXiv:2104.14294, section 3 and algorithm 1; head, loss and views
    are lightly's.
    Differs: two global views and no local ones, so that all have the network's size; the
    teacher's temperature stays, where the paper warms it up from 0.04 to 0.07; the last layer
    learns from the first step on, where the authors' code freezes it for an epoch; 4096
    prototypes where the paper has 65,536.

    Attributes:
        smallest_crop: As above; the paper's global views show at least 0.4.
        jitter: As above; the paper takes half of SimCLR's.
        hidden: Width of the head's first two layers.
        bottleneck: Width of its third.
        prototypes: Length of an answer.
        temperature: Of the student.
        teacher_temperature: Of the teacher, below the student's.
        center_momentum: Decay of the mean answer, a step, that is taken off the teacher's.
        momentum: Decay of the teacher, a step, at first; it rises to 1 by a cosine.
    """

    smallest_crop: float = 0.4
    jitter: float = 0.5
    hidden: int = 2048
    bottleneck: int = 256
    prototypes: int = 4096
    temperature: float = 0.1
    teacher_temperature: float = 0.04
    center_momentum: float = 0.9
    momentum: float = 0.996

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(
            self.name,
            hidden=self.hidden,
            bottleneck=self.bottleneck,
            prototypes=self.prototypes,
            temperature=self.temperature,
            teacher_temperature=self.teacher_temperature,
        )
        for field in ("center_momentum", "momentum"):
            if not 0 <= getattr(self, field) <= 1:
                raise BadValueError(f"dino {field} must be from 0 to 1, got {getattr(self, field)}")

    def companion(self, net: nn.Module, features: int) -> nn.Module:
        """Head, teacher (a copy of the network and the head) and center."""
        loss = part("loss", "DINOLoss")(
            self.prototypes,
            teacher_temp=self.teacher_temperature,
            student_temp=self.temperature,
            center_momentum=self.center_momentum,
        )
        return _Companion(net, self._head(features), loss)

    def view_transforms(self, size: tuple[int, int]) -> tuple[View, ...]:
        """One always blurred, the other seldom and sometimes solarized."""
        view = part("transforms.dino_transform", "DINOViewTransform")
        common = {
            "crop_size": size,
            "crop_scale": (self.smallest_crop, 1.0),
            "cj_strength": self.jitter,
            "sigmas": (0.1, 2),
            "normalize": None,
        }
        return (
            view(gaussian_blur=1.0 * self.blur, solarization_prob=0.0, **common),
            view(gaussian_blur=0.1 * self.blur, solarization_prob=0.2, **common),
        )

    def batch_loss(self, classifier: Classifier, views: Tensor) -> Tensor:
        """Mean over both pairs of one view for the teacher and the other for the student.

        The center moves on with each call.
        """
        companion = companion_of(classifier)
        with companion.watched() as inputs:
            student = projections(classifier, views)
        teacher = companion.taught(inputs).to(student[0].dtype)
        return companion.loss(list(teacher.reshape(*views.shape[:2], -1)), student)

    def after_step(self, classifier: Classifier, part: float) -> None:
        """Move the teacher towards the student: `momentum` rises to 1 by a cosine."""
        decay = 1 - (1 - self.momentum) * (math.cos(math.pi * part) + 1) / 2
        companion_of(classifier).follow(decay)

    def _head(self, features: int) -> nn.Module:
        with warnings.catch_warnings():
            # Lightly still normalizes weights by torch's deprecated hook, which we replace.
            warnings.simplefilter("ignore", FutureWarning)
            head = part("models.modules.heads", "DINOProjectionHead")(
                features, self.hidden, self.bottleneck, self.prototypes
            )
        # A module with the old hook cannot be copied; the numbers are the same.
        last = nn.Linear(self.bottleneck, self.prototypes, bias=False)
        last.weight.data.copy_(head.last_layer.weight_v.data)
        parametrizations.weight_norm(last)
        parametrized: Any = last.parametrizations
        length = parametrized["weight"].original0
        length.data.fill_(1)
        length.requires_grad_(False)  # as norm_last_layer of the authors' code
        head.last_layer = last
        return head


class _Companion(nn.Module):
    """Head, teacher and center; only the head learns by gradients."""

    def __init__(self, net: nn.Module, head: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.loss = loss
        self.teacher = copy.deepcopy(nn.ModuleDict({"net": net, "head": head}))
        self.teacher.requires_grad_(requires_grad=False)
        self.teacher.train()  # the network arrived in evaluation mode
        self._student = (net, head)  # in a tuple, so that the network is not saved twice

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] to projections [B, P]."""
        return self.head(features)

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """Collect what the network is handed meanwhile, after the classifier's normalization."""
        inputs: list[Tensor] = []
        handle = self._student[0].register_forward_pre_hook(
            lambda _, arguments: inputs.append(arguments[0].detach())
        )
        try:
            yield inputs
        finally:
            handle.remove()

    @torch.no_grad()
    def taught(self, inputs: list[Tensor]) -> Tensor:
        """The teacher's answers to these inputs, [B, P]."""
        if not inputs:
            raise BadValueError(
                "the classifier never called the network that the companion was built for; "
                "build the companion for the network that is trained"
            )
        return self.teacher["head"](self.teacher["net"](torch.cat(inputs)))

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Teacher = decay * teacher + (1 - decay) * student, parameter by parameter.

        Running statistics are the teacher's own, from what it sees.
        """
        for name, student in zip(("net", "head"), self._student, strict=True):
            pairs = zip(self.teacher[name].parameters(), student.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast.to(slow.dtype), 1 - decay)
