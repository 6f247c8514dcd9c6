"""What a change is predicted to cost or gain, from how far it moves the network's features.

A changed network on some pictures is as far from the original on clean ones, at the input of the
last layer, as the original is under noise of some sigma; the original's measured accuracy at that
sigma is the prediction. So the noise that a change takes away and the detail that it takes away
with it are weighed in one measure. It needs no labels, and 32 pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.measuring import Subject
from holdfast.metrics.accuracy import wilson
from holdfast.models import Classifier, head_layers
from holdfast.records.explanations import Value

_STREAM = "advice noise"
_BATCH = 8


@dataclass(frozen=True)
class Curve:
    """Accuracy of the original against the deviation of Gaussian noise.

    Attributes:
        sigmas: Ascending, 0 first, [M].
        correct: Images that it gets right, [M].
        count: Images.
    """

    sigmas: tuple[float, ...]
    correct: tuple[int, ...]
    count: int

    def at(self, sigma: float) -> Value:
        """Accuracy at a deviation with Wilson's interval, read off a falling curve.

        Between the measured points by monotone cubics; accuracies that rise by chance are levelled
        first. Beyond the last point there is no data.
        """
        if not self.count or not 0 <= sigma <= self.sigmas[-1]:
            return Value(count=self.count)
        bounds = [wilson(one, self.count) for one in self.correct]
        rows = (
            [one / self.count for one in self.correct],
            [one.low for one in bounds],
            [one.high for one in bounds],
        )
        value, low, high = (_read(self.sigmas, row, sigma) for row in rows)
        return Value(value=value, low=low, high=high, count=self.count)


def _read(sigmas: Sequence[float], values: Sequence[float], place: float) -> float:
    falling = np.minimum.accumulate(np.asarray(values, dtype=np.float64))
    return float(PchipInterpolator(np.asarray(sigmas), falling)(place))


@dataclass(frozen=True)
class Displacements:
    """How far noise moves the features of the original.

    Attributes:
        clean: Its features of clean pictures, [N, F] float64.
        spread: Sum over features of their variance between pictures.
        sigmas: Ascending, 0 first, [M].
        moved: Root mean square of f(x + n) - f(x) over the root of `spread`, [M].
    """

    clean: Tensor
    spread: float
    sigmas: tuple[float, ...]
    moved: tuple[float, ...]

    @classmethod
    def of(cls, subject: Subject, sigmas: Sequence[float], *, seed: int, images: int) -> Self:
        """Send pictures with noise of each deviation through a network.

        Args:
            subject: Network and pictures.
            sigmas: Deviations, pixel units of [0, 1], ascending, without 0.
            seed: Of the noise.
            images: How many pictures, the first of the stream.

        Raises:
            BadValueError: The network has no last layer whose input could be seen.
        """
        clean = features(subject, 0.0, seed=seed, images=images)
        spread = float(clean.var(0, correction=0).sum()) if len(clean) else math.nan
        empty = cls(clean, spread, (0.0,), (0.0,))
        moved = [
            empty.from_clean(features(subject, sigma, seed=seed, images=images)) for sigma in sigmas
        ]
        return cls(clean, spread, (0.0, *sigmas), (0.0, *moved))

    def from_clean(self, found: Tensor) -> float:
        """How far features [N, F] are from those of clean pictures; NaN without a spread."""
        if found.shape != self.clean.shape or not self.spread > 0:
            return math.nan
        moved = (found - self.clean).square().sum(1).mean()
        return float((moved / self.spread).sqrt())

    def equivalent(self, moved: float) -> float:
        """Deviation of the noise that moves the original as far; linear between those measured.

        What is further than the strongest noise that was tried counts as that.
        """
        if math.isnan(moved) or any(math.isnan(one) for one in self.moved):
            return math.nan
        rising = np.maximum.accumulate(np.asarray(self.moved))
        return float(np.interp(moved, rising, np.asarray(self.sigmas)))


def predicted_change(curve: Curve, sigma: float, equivalent: float) -> Value:
    """Change of accuracy where a changed network under noise of `sigma` is as the original.

    Args:
        curve: Of the original.
        sigma: Deviation of the noise that both get, pixel units of [0, 1]; 0 is clean.
        equivalent: Deviation at which the original is as far from its clean self.
    """
    if math.isnan(equivalent):
        return Value(count=curve.count)
    now, then = curve.at(sigma), curve.at(equivalent)
    return Value(
        value=then.value - now.value,
        low=then.low - now.value,
        high=then.high - now.value,
        count=curve.count,
    )


def features(subject: Subject, sigma: float, *, seed: int, images: int) -> Tensor:
    """Input of the last layer for pictures with Gaussian noise, [N, F] float64.

    The noise is not cut at black and white, and is keyed by picture: a changed network gets the
    same.

    Raises:
        BadValueError: The network has no last layer whose input could be seen.
    """
    found: list[Tensor] = []
    for pixels, ids in _pictures(subject, images):
        noisy = pixels
        if sigma:
            keys = keys_for(ids, seed=seed, stream=_STREAM)
            noisy = pixels + sigma * keys.normal(*pixels.shape[1:]).float().to(pixels.device)
        found.append(_features(subject.classifier, noisy))
    return torch.cat(found).double() if found else torch.zeros(0, 0, dtype=torch.float64)


def _pictures(subject: Subject, images: int) -> Sequence[tuple[Tensor, Tensor]]:
    found: list[tuple[Tensor, Tensor]] = []
    left = images
    for part in subject.stream.parts(_BATCH, ()):
        for batch in part.batches:
            found.append((batch.images[:left], batch.ids[:left]))
            left -= len(found[-1][1])
            if left <= 0:
                return found
    return found


def _features(classifier: Classifier, images: Tensor) -> Tensor:
    """Input of the last layer, [B, F]; of a map [B, F, H, W], its mean over positions."""
    net: Any = classifier.net
    names = head_layers(net)
    if not names:
        raise BadValueError(f"{classifier.name} has no last layer whose input could be seen")
    kept: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0].detach().float())

    hook = net.get_submodule(names[-1]).register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            classifier(classifier.resize(images, crop=True))
    finally:
        hook.remove()
    if not kept:
        raise BadValueError(f"the last layer of {classifier.name}, {names[-1]}, does not run")
    found = kept[-1]
    if found.ndim > 2:  # a convolution that classifies each position: their mean is what counts
        found = found.flatten(2).mean(2)
    return found.reshape(len(images), -1).cpu()
