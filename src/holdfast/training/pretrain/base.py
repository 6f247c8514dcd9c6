"""What self-supervised methods share: views of an image, a projection head, one loss a batch.

They are objectives of the ordinary loop, with three additions that the loop serves:

1. `make_views` takes the place of the augmentations, and `TrainingBatch.views` holds the result.
2. `companion` is a module that is trained and saved with the network, whose last layer is out
   of the way (`Headless`). The classifier handed to `losses` gives that module's projections
   [B, P] of the network's features, and has the module as its attribute `companion`.
3. `after_step` follows each step of the optimizer.

Views go through the classifier in one pass, so batch normalization sees them together. The
papers' code passes one view at a time.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as pictures

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import Objective
from holdfast.training.pretrain._lightly import part

View = Callable[[Image.Image], Tensor]
_SEEDS = 2**32  # that numpy's old generator takes


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(Objective):
    """Base of the self-supervised objectives; labels are never looked at.

    Attributes:
        smallest_crop: Least share of the image's area that a view shows, in (0, 1].
        jitter: Factor on the ranges of the method's color jitter, 0 to 2; 0.5 suits small images.
        blur: Factor on the method's probabilities of a Gaussian blur, 0 to 1. Its deviation, 0.1
            to 2 pixels whatever the image's size, leaves little of an image of 32 pixels.
    """

    couples: ClassVar[bool] = True  # no sample has a loss of its own: batches stay whole
    views: ClassVar[int] = 2

    smallest_crop: float = 0.08
    jitter: float = 1.0
    blur: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest_crop <= 1:
            raise BadValueError(
                f"{self.name} smallest_crop must be above 0 and at most 1, got {self.smallest_crop}"
            )
        if not 0 <= self.jitter <= 2:
            raise BadValueError(f"{self.name} jitter must be from 0 to 2, got {self.jitter}")
        if not 0 <= self.blur <= 1:
            raise BadValueError(f"{self.name} blur must be from 0 to 1, got {self.blur}")

    @abstractmethod
    def companion(self, net: nn.Module, features: int) -> nn.Module:
        """Build what is trained and saved with the network: features [B, D] to projections [B, P].

        Fresh weights are drawn from torch's global generator; whoever calls seeds it and puts it
        back.

        Args:
            net: The network without its last layer, giving features.
            features: Their number D.

        Raises:
            MissingError: Lightly is not installed.
        """

    @abstractmethod
    def view_transforms(self, size: tuple[int, int]) -> tuple[View, ...]:
        """One of lightly's transforms a view, picture to float [C, h, w], unnormalized."""

    @abstractmethod
    def batch_loss(self, classifier: Classifier, views: Tensor) -> Tensor:
        """Loss of views [V, B, C, H, W], a single number."""

    def lightly_view(self, transform: str, size: tuple[int, int], *, blur: float) -> View:
        """One of lightly's transforms of a picture, as this method's settings have it.

        Args:
            transform: Module of `lightly.transforms` and class, with a dot between.
            size: Height and width.
            blur: The method's probability of a Gaussian blur, before the factor on it.
        """
        module, _, name = transform.partition(".")
        return part(f"transforms.{module}", name)(
            input_size=size,
            cj_strength=self.jitter,
            min_scale=self.smallest_crop,
            gaussian_blur=blur * self.blur,
            normalize=None,
        )

    def make_views(self, image: Tensor) -> Tensor:
        """Draw the views of one picture: uint8 [C, h, w] to uint8 [V, C, h, w].

        Numbers come from torch's global generator, which the caller has seeded with what the
        sample and the epoch say and puts back. Lightly draws from numpy's old generator too:
        that one is seeded here from torch's, and put back, as is Python's.

        Raises:
            BadTypeError: Not uint8.
            BadValueError: Not [1 or 3, h, w].
            MissingError: Lightly is not installed.
        """
        _check_picture(image)
        picture = pictures.to_pil_image(image)
        transforms = _transforms(self, (image.shape[1], image.shape[2]))
        with _seeded_from_torch():
            views = [transform(picture) for transform in transforms]
        # Pixels were of 8 bits until the last line of each transform, so nothing is lost.
        return torch.stack(views).mul_(255).round_().to(torch.uint8)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Loss of the whole batch, once for each sample, [B].

        Raises:
            BadValueError: Fewer than two images, or not this method's number of views.
        """
        came = 0 if batch.views is None else len(batch.views)
        if batch.views is None or came != self.views:
            raise BadValueError(
                f"{self.name} compares {self.views} views of each image, got {came}; "
                "make them with make_views"
            )
        if len(batch) < 2:
            raise BadValueError(
                f"{self.name} compares images with each other and got a batch of {len(batch)}; "
                "use a larger batch_size, and drop a last batch of one image"
            )
        return self.batch_loss(classifier, batch.views).expand(len(batch))

    def after_step(self, classifier: Classifier, part: float) -> None:
        """Follow a step of the optimizer.

        Args:
            classifier: As in `losses`.
            part: Of the run's steps taken, in [0, 1].
        """


def companion_of(classifier: Classifier) -> Any:
    """The module that `SelfSupervised.companion` built."""
    return classifier.companion  # type: ignore[attr-defined]  # see the module


def projections(classifier: Classifier, views: Tensor) -> list[Tensor]:
    """Projections of each view [B, P], float32 or float64, all from one pass."""
    out = classifier(views.flatten(0, 1))
    # Sums over a batch and squares of them do not fit 16 bits.
    out = out if out.dtype == torch.float64 else out.float()
    return list(out.reshape(*views.shape[:2], -1))


def positive(name: str, **sizes: float) -> None:
    """Check that sizes, weights and temperatures are above 0.

    Raises:
        BadValueError: One is not.
    """
    for field, value in sizes.items():
        if not 0 < value < float("inf"):
            raise BadValueError(f"{name} {field} must be above 0, got {value}")


@lru_cache(maxsize=8)
def _transforms(method: SelfSupervised, size: tuple[int, int]) -> tuple[View, ...]:
    return method.view_transforms(size)


@contextmanager
def _seeded_from_torch() -> Iterator[None]:
    seed = int(torch.randint(_SEEDS, ()))
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002 - lightly's generator
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def _check_picture(image: Tensor) -> None:
    if image.dtype != torch.uint8:
        raise BadTypeError(f"views are made of 8-bit pictures, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise BadValueError(
            f"expected a picture [C, h, w] of 1 or 3 channels, got {list(image.shape)}"
        )
