"""Noise on its way through a real network: its size against the signal's at every layer.

A clean picture and the same with noise go through together; at each layer the difference is the
noise. Where the way to a layer is linear the size is known exactly as well: the stem, the batch
normalization after it and average pooling of that. Elsewhere it is measured, with an interval
over the images.

Only sums are kept of each layer, and one mean a channel and image: nothing grows with the size of
the activations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.checks import check_number
from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.explain.theory.stems import Stem, averaged, noise_gains
from holdfast.metrics.intervals import mean_estimate, normal_quantile
from holdfast.models import Classifier
from holdfast.records.explanations import Layer, Value

FloatArray = NDArray[np.float64]
_TOGETHER = 8  # images a pass, each clean and noisy
_LAST_AXIS = (nn.Linear, nn.LayerNorm, nn.Embedding)
_SECOND_AXIS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, _BatchNorm, nn.GroupNorm)


@dataclass
class _Sums:
    """What is kept of a layer."""

    kind: str
    shape: tuple[int, ...]
    analytic: float
    noise: list[FloatArray] = field(default_factory=list)  # mean square an image
    squares: list[FloatArray] = field(default_factory=list)  # of the signal, an image
    means: list[NDArray[np.float32]] = field(default_factory=list)  # [images, channels]


@dataclass(frozen=True, eq=False)
class Propagation:
    """Layers in order of running, and what of the stem was seen.

    Attributes:
        layers: One a call of a module.
        stem_gain: Noise variance in the stem's interior over sigma^2, the mean over filters, with
            its interval over the images.
        stem_gains: The same of each filter, the mean over images, float64 [filters].
        skipped: Names of layers without a tensor of one entry an image.
    """

    layers: tuple[Layer, ...] = ()
    stem_gain: Value = field(default_factory=Value)
    stem_gains: FloatArray = field(default_factory=lambda: np.zeros(0))
    skipped: tuple[str, ...] = ()


def propagate(
    classifier: Classifier,
    images: Tensor,
    sigma: float,
    keys: Keys,
    stem: Stem | None = None,
) -> Propagation:
    """Send noise through a network, and measure it after each of its leaf modules.

    Noise is N(0, sigma^2), independent between pixels and colors, and not clipped to [0, 1]:
    clipping would make it depend on the picture.

    Args:
        classifier: Of a module.
        images: float [N, C, H, W] in [0, 1], of the network's size.
        sigma: Standard deviation in pixels of [0, 1], above 0.
        keys: One stream an image.
        stem: What `stem_of` found, for the analytic part.

    Raises:
        BadValueError: No module, fewer than two images, or sigma not above 0.
    """
    check_number("sigma", sigma)
    if not isinstance(classifier.net, nn.Module):
        raise BadValueError(f"{classifier.name} is no torch module: its layers cannot be seen")
    if len(images) < 2 or sigma == 0:
        raise BadValueError(
            f"noise is measured on two or more images and with sigma above 0, got {len(images)} "
            f"images and sigma {sigma}"
        )
    watch = _Watch(classifier.net, sigma, stem)
    with watch.hooked(), torch.no_grad():
        for start in range(0, len(images), _TOGETHER):
            clean = images[start : start + _TOGETHER]
            place = torch.arange(start, start + len(clean))
            noise = keys.take(place).normal(*images.shape[1:]).to(clean) * sigma
            watch.begin(len(clean))
            classifier(torch.cat([clean, clean + noise]))
    return watch.found()


class _Watch:
    """Hooks that sum up what they see."""

    def __init__(self, net: nn.Module, sigma: float, stem: Stem | None) -> None:
        self._net, self._sigma, self._stem = net, sigma, stem
        self._names = {module: name for name, module in net.named_modules()}
        self._parents = {child: module for module in net.modules() for child in module.children()}
        self._sums: dict[str, _Sums] = {}
        self._skipped: dict[str, None] = {}
        self._stem_squares: list[FloatArray] = []  # [images, filters]
        self.begin(0)

    def begin(self, count: int) -> None:
        """A pass over so many images begins, each clean and noisy."""
        self._count = count
        self._calls: dict[str, int] = {}
        self._axes: dict[tuple[int, ...], int] = {}
        self._last: Tensor | None = None  # what the last layer gave
        self._linear: tuple[FloatArray, tuple[int, int]] | None = None  # weights so far

    @contextmanager
    def hooked(self) -> Iterator[None]:
        leaves = [module for module in self._net.modules() if _is_leaf(module)]
        handles = [leaf.register_forward_hook(self._saw) for leaf in leaves]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _saw(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        output = output[0] if isinstance(output, tuple) and output else output
        given = next((one for one in inputs if isinstance(one, Tensor)), None)
        name = self._names[module]
        kind = type(module).__name__
        if _passes_on(module):
            if given is None or _same(given, self._last):
                return
            # What no module has given: a sum, attention, or a normalization with parts inside.
            name, module, kind = self._maker(name, module)
        call = self._calls[name] = self._calls.get(name, 0) + 1
        label = name if call == 1 else f"{name}#{call}"
        if not isinstance(output, Tensor) or not output.is_floating_point():
            self._skipped[label] = None
            return
        if output.dim() < 2 or len(output) % (2 * self._count):
            self._skipped[label] = None
            return
        self._follow(module, given, first=call == 1)
        self._add(label, kind, module, output, first=call == 1)
        self._last = output

    def _maker(self, name: str, module: nn.Module) -> tuple[str, nn.Module, str]:
        """Name, module and kind of what computed the input of one that passes it on."""
        parent = self._parents.get(module)
        if parent is None:
            return name, module, type(module).__name__
        kind = type(parent).__name__
        if any(True for _ in parent.parameters(recurse=False)):
            return self._names[parent], parent, kind
        return name, module, f"in {kind}"

    def _follow(self, module: nn.Module, given: Tensor | None, *, first: bool) -> None:
        """Weights in pixels up to here, while the way is linear."""
        # A stem that is called again is given what it made, and no longer pixels.
        if self._stem is not None and module is self._stem.module and first:
            self._linear = (self._stem.weight, self._stem.stride)
            return
        linear, self._linear = self._linear, None
        if linear is None or given is None:
            return
        if isinstance(module, _BatchNorm):
            fits = module.num_features == len(linear[0]) and module.running_var is not None
            if fits and (_same(given, self._last) or _own(module)):
                self._linear = (_scaled(linear[0], module), linear[1])
        elif _same(given, self._last):
            window = _average_window(module)
            if window:
                self._linear = averaged(*linear, window)

    def _add(
        self, label: str, kind: str, module: nn.Module, output: Tensor, *, first: bool
    ) -> None:
        values = self._by_channel(module, output)
        clean, noisy = values[: self._count], values[self._count :]
        difference = noisy - clean
        if self._stem is not None and module is self._stem.module and first:
            self._add_stem(output)
        if label not in self._sums:
            shape = tuple(output.shape[1:])
            self._sums[label] = _Sums(kind, shape, self._analytic())
        sums = self._sums[label]
        sums.noise.append(_numpy((difference**2).mean((1, 2))))
        sums.squares.append(_numpy((clean**2).mean((1, 2))))
        sums.means.append(_numpy(clean.mean(1)).astype(np.float32))

    def _add_stem(self, output: Tensor) -> None:
        inner = cast("Stem", self._stem).interior(output).double()
        difference = inner[self._count :] - inner[: self._count]
        self._stem_squares.append(_numpy((difference**2).mean(2)))

    def _analytic(self) -> float:
        if self._linear is None:
            return math.nan
        return self._sigma * math.sqrt(float(noise_gains(self._linear[0]).mean()))

    def _by_channel(self, module: nn.Module, output: Tensor) -> Tensor:
        """float64 [2 images, positions, channels]; windows of one image are its positions."""
        shape = tuple(output.shape)
        if isinstance(module, _SECOND_AXIS) or type(module).__name__.endswith("2d"):
            axis = 1
        elif isinstance(module, _LAST_AXIS):
            axis = output.dim() - 1
        else:
            usual = 1 if output.dim() in (2, 4) else output.dim() - 1
            axis = self._axes.get(shape, usual)
        self._axes[shape] = axis
        last = output.movedim(axis, -1)
        return last.reshape(2 * self._count, -1, last.shape[-1]).double()

    def found(self) -> Propagation:
        layers: list[Layer] = []
        for place, (label, sums) in enumerate(self._sums.items()):
            before = layers[-1].ratio.value if layers else math.nan
            layers.append(_layer(label, place, sums, before))
        if not self._stem_squares:
            return Propagation(tuple(layers), skipped=tuple(self._skipped))
        gains = np.concatenate(self._stem_squares) / self._sigma**2
        mean = mean_estimate(gains.mean(1), bounds=(0, math.inf))
        value = Value(value=mean.value, low=mean.low, high=mean.high, count=mean.count)
        return Propagation(tuple(layers), value, gains.mean(0), tuple(self._skipped))


def _layer(label: str, place: int, sums: _Sums, before: float) -> Layer:
    noise = np.concatenate(sums.noise)
    means = np.concatenate(sums.means).astype(np.float64)
    center = means.mean(0)
    # About each channel's mean over positions and images: a constant carries no picture.
    signal = np.concatenate(sums.squares) - (2 * means * center - center**2).mean(1)
    signal = np.maximum(signal, 0)
    total, power = float(noise.mean()), float(signal.mean())
    ratio = _ratio(noise, signal)
    return Layer(
        name=label or "the network",
        kind=sums.kind,
        place=place,
        shape=sums.shape,
        noise=math.sqrt(total),
        signal=math.sqrt(power),
        ratio=ratio,
        gain=ratio.value / before if before > 0 else math.nan,
        analytic=sums.analytic,
    )


def _ratio(noise: FloatArray, signal: FloatArray) -> Value:
    """Root of mean noise over mean signal, with the interval of a ratio of means.

    Cochran 1977, "Sampling Techniques", section 6.3, on the scale of the logarithm.
    """
    count, mean = len(noise), float(signal.mean())
    if mean <= 0:
        return Value(count=count)
    square = float(noise.mean()) / mean
    if square == 0:
        return Value(value=0.0, count=count)
    spread = float((noise - square * signal).std(ddof=1)) / (mean * math.sqrt(count))
    half = normal_quantile(0.95) * spread / square / 2
    value = math.sqrt(square)
    return Value(value=value, low=value * math.exp(-half), high=value * math.exp(half), count=count)


def _is_leaf(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or not any(True for _ in module.children())


def _passes_on(module: nn.Module) -> bool:
    """Whether a module in evaluation mode gives what it was given."""
    return isinstance(module, nn.Identity) or type(module).__name__.startswith("Drop")


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is not None and (
        first is second or (second is not None and first.data_ptr() == second.data_ptr())
    )


def _own(module: nn.Module) -> bool:
    """Whether a normalization was seen through the identity inside of it."""
    return any(True for _ in module.children())


def _scaled(weight: FloatArray, norm: _BatchNorm) -> FloatArray:
    variance = _numpy(cast("Tensor", norm.running_var).double())
    scale = 1 / np.sqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * _numpy(norm.weight.double())
    return weight * scale[:, None, None, None]


def _average_window(module: nn.Module) -> int:
    """Side of the window of a plain average pooling; 0 for anything else."""
    if not isinstance(module, nn.AvgPool2d):
        return 0
    sides: set[Any] = set()
    for setting in (module.kernel_size, module.stride):
        sides |= set(setting) if isinstance(setting, Sequence) else {setting}
    padded = set(module.padding if isinstance(module.padding, Sequence) else [module.padding])
    return int(sides.pop()) if len(sides) == 1 and padded == {0} else 0


def _numpy(values: Tensor) -> Any:
    return values.detach().cpu().numpy()
