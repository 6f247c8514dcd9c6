"""By how much a model's normalization stretches pixels.

A classifier f(x) = g((x - mean) / std) has, in pixels of [0, 1], a Lipschitz constant of at most
that of g over the smallest std. Kim et al. 2025, arXiv:2509.20939, read from it that CLIP's
convention is up to 1.91 times worse than Inception's (std 0.5): 0.5 / 0.2613 = 1.9135. By the
same bound ImageNet's usual convention is worse still, 0.5 / 0.224 = 2.23, and the supervised
models that hold better than CLIP's use it. So the factor alone does not explain CLIP against
supervised.

The factor compares two models only where they share g: the same network and weights behind
another normalization. Two trainings have two g, and the one that sees larger numbers may have
learned smaller weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from holdfast.core.errors import BadValueError
from holdfast.records.explanations import Preprocess

INCEPTION_STD = 0.5
# Standard deviations in [0, 1] units, as timm/data/constants.py has them.
STDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "none, pixels as they are": (1.0, 1.0, 1.0),
        "Inception": (INCEPTION_STD,) * 3,
        "CLIP": (0.26862954, 0.26130258, 0.27577711),
        "DPN": (1 / (0.0167 * 255),) * 3,
        "ImageNet": (0.229, 0.224, 0.225),
    }
)


def pixel_factor(std: Sequence[float]) -> float:
    """1 / min std: the most by which normalization stretches a change of pixels, in any L-norm.

    Args:
        std: Of the colors, [0, 1] units; empty where pixels are taken as they are, factor 1.

    Raises:
        BadValueError: One that is not above 0.
    """
    if any(not math.isfinite(value) or value <= 0 for value in std):
        raise BadValueError(f"std must be above 0, got {tuple(std)}")
    return 1 / min(std, default=1.0)


def preprocess(name: str, std: Sequence[float]) -> Preprocess:
    """Factor of one convention, and against Inception's.

    Raises:
        BadValueError: A std that is not above 0.
    """
    factor = pixel_factor(std)
    return Preprocess(
        name=name, std=tuple(std), factor=factor, against_inception=INCEPTION_STD * factor
    )


def preprocessing_table() -> tuple[Preprocess, ...]:
    """The usual conventions, the least stretching first."""
    return tuple(preprocess(name, std) for name, std in STDS.items())
