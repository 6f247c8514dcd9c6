"""What theory predicts of a change: how much noise reaches the classifier, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
FloatArray = NDArray[np.float64]


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


def predicted_change(curve: Curve, sigma: float, ratio: float) -> Value:
    """Change of accuracy at noise of `sigma`, where a change scales the noise by a ratio.

    The changed model is taken to answer at `sigma` as the original does at `sigma * ratio`: its
    noise is less, and what it sees of the picture is the same. What a low-pass filter takes from
    the picture is not in it.

    Args:
        curve: Of the original.
        sigma: Deviation of the noise, pixel units of [0, 1].
        ratio: Noise over signal after the change, against before.
    """
    if not math.isfinite(ratio):
        return Value(count=curve.count)
    now, then = curve.at(sigma), curve.at(sigma * ratio)
    return Value(
        value=then.value - now.value,
        low=then.low - now.value,
        high=then.high - now.value,
        count=curve.count,
    )


@dataclass(frozen=True)
class Ratio:
    """Noise over signal at the classifier's input.

    Attributes:
        value: Root of the mean square of f(x + n) - f(x), over the deviation of f(x) between
            pictures.
        images: How many pictures.
    """

    value: float
    images: int


def noise_ratio(subject: Subject, sigma: float, *, seed: int, images: int) -> Ratio:
    """Send pictures with and without Gaussian noise through a network, and compare its features.

    The noise is not cut at black and white, as theory has it, and keyed by picture: a changed
    network gets the same.

    Args:
        subject: Network and pictures.
        sigma: Deviation of the noise, pixel units of [0, 1].
        seed: Of the noise.
        images: How many pictures, the first of the stream.

    Raises:
        BadValueError: The network has no last layer whose input could be seen.
    """
    clean: list[Tensor] = []
    noisy: list[Tensor] = []
    for pixels, ids in _pictures(subject, images):
        keys = keys_for(ids, seed=seed, stream=_STREAM)
        noise = keys.normal(*pixels.shape[1:]).float().to(pixels.device)
        clean.append(_features(subject.classifier, pixels))
        noisy.append(_features(subject.classifier, pixels + sigma * noise))
    if not clean:
        return Ratio(math.nan, 0)
    first, second = torch.cat(clean).double(), torch.cat(noisy).double()
    spread = first.var(0, correction=0).sum()
    moved = (second - first).square().sum(1).mean()
    value = float((moved / spread).sqrt()) if float(spread) > 0 else math.nan
    return Ratio(value, len(first))


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
    """Input of the last layer, [B, F]."""
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
    return kept[-1].reshape(len(images), -1).cpu()
