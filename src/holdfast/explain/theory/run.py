"""Theory of one model: its stem, its normalization, noise on its way, and the general tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.core.checks import check_number
from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.explain.theory.kernels import ideal, kernel_table, noise_gain, response
from holdfast.explain.theory.pooling import pooling_table
from holdfast.explain.theory.preprocessing import preprocess, preprocessing_table
from holdfast.explain.theory.propagation import Propagation, propagate
from holdfast.explain.theory.resampling import resampling_table
from holdfast.explain.theory.stems import Stem, stem_of
from holdfast.models import Classifier
from holdfast.models.classifier import FOREIGN_ERRORS
from holdfast.records.explanations import Layer, Response, Theory

_SHOWN = 12  # filters of the stem as pictures
_IDEALS = (("box", 3), ("box", 7), ("gaussian", 7), ("binomial", 7))
_SIZE = (32, 32)  # of pictures for a network that takes any
# Mean and deviation of pixels of photographs, about those of ImageNet (0.45 and 0.27).
_LEVEL, _SPREAD = 0.45, 0.25
_DEAD = 1e-9  # of the largest gain
_DIGITS = 5  # that pictures of kernels are kept with


def theory_of(classifier: Classifier, images: Tensor | None, sigma: float, keys: Keys) -> Theory:
    """Compute the stem's noise gain, send noise through the network, and fill the tables.

    Args:
        classifier: What is looked at.
        images: float [N, C, H, W] in [0, 1], of the network's size, two or more; None takes
            `random_fields`, one a key.
        sigma: Standard deviation of the noise, pixels of [0, 1]; it is not clipped to [0, 1].
        keys: One stream an image.

    Raises:
        BadValueError: Sigma not above 0, fewer than two images, or images of a size that the
            network does not take.
    """
    check_number("sigma", sigma)
    channels = classifier.preprocessing.channels
    flags: list[str] = []
    if images is None:
        images = random_fields(keys, (channels, *(classifier.input_size or _SIZE)))
        flags.append(
            "The pictures are random fields with the spectrum of photographs and no photographs; "
            "noise relative to the signal is theirs. --data takes real images."
        )
    images = images.to(classifier.device)
    stem: Stem | str = f"{classifier.name} is no torch module: its layers cannot be seen."
    seen = Propagation()
    if isinstance(classifier.net, torch.jit.ScriptModule):
        stem = f"{classifier.name} is compiled by torch.jit: its layers cannot be seen."
    elif isinstance(classifier.net, nn.Module):
        _check_size(classifier, images)
        colors = images.shape[1]
        stem = stem_of(classifier.net, classifier, tuple(images.shape[2:]), colors)  # type: ignore[arg-type]
        known = stem if isinstance(stem, Stem) else None
        seen = propagate(classifier, images, sigma, keys, known)
    flags += _flags(classifier, stem, seen)
    own = preprocess(classifier.name, classifier.preprocessing.std)
    made = Theory(
        model=classifier.name,
        preprocessing=(own, *preprocessing_table()),
        kernels=kernel_table(),
        resampling=resampling_table(),
        pooling=pooling_table(),
        layers=seen.layers,
        responses=_ideals(),
        sigma=sigma,
        images=len(images),
        flags=tuple(flags),
    )
    return _with_stem(made, stem, seen) if isinstance(stem, Stem) else made


def _check_size(classifier: Classifier, images: Tensor) -> None:
    try:
        with torch.no_grad():
            classifier(images[:1])
    except FOREIGN_ERRORS as error:
        raise BadValueError(
            f"{classifier.name} fails on images {list(images.shape[1:])}: {error}; give images of "
            "the size that it takes"
        ) from error


def _with_stem(made: Theory, stem: Stem, seen: Propagation) -> Theory:
    gains = stem.gains
    return made.model_copy(
        update={
            "stem": stem.about,
            "stem_size": max(stem.weight.shape[2:]),
            "stem_stride": max(stem.stride),
            "stem_gains": tuple(map(float, gains)),
            "stem_exact": float(gains.mean()),
            "stem_measured": seen.stem_gain,
            "responses": (*_filters(stem), *made.responses),
        }
    )


def _flags(classifier: Classifier, stem: Stem | str, seen: Propagation) -> list[str]:
    found = [stem] if isinstance(stem, str) else []
    if "untrained" in classifier.flags:
        found.append("The weights are random: no training gave them; --weights takes a file.")
    if seen.skipped:
        few = ", ".join(seen.skipped[:3])
        found.append(
            f"{len(seen.skipped)} layers are left out, as they do not give one tensor an image: "
            f"{few}{', ...' if len(seen.skipped) > 3 else ''}."
        )
    return found


def _filters(stem: Stem) -> tuple[Response, ...]:
    """Filters from the largest gain to the smallest, evenly spaced among all that do something."""
    order = np.argsort(-stem.gains, kind="stable")
    order = order[stem.gains[order] > _DEAD * stem.gains.max()]
    if not len(order):
        return ()
    count = min(_SHOWN, len(order))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))]
    return tuple(
        _response(f"filter {place}", stem.weight[place].sum(0), float(stem.gains[place]))
        for place in chosen
    )


def _ideals() -> tuple[Response, ...]:
    kernels = [(f"{kind} {width}", ideal(kind, width)) for kind, width in _IDEALS]
    return tuple(_response(name, kernel, noise_gain(kernel)) for name, kernel in kernels)


def _response(name: str, kernel: NDArray[np.float64], gain: float) -> Response:
    return Response(name=name, kernel=_rows(kernel), magnitude=_rows(response(kernel)), gain=gain)


def _rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{_DIGITS}g}") for value in row) for row in matrix)


def random_fields(keys: Keys, shape: tuple[int, int, int]) -> Tensor:
    """Pictures that no camera took: gray fields with amplitude 1 / frequency, and a tint.

    Their amplitude falls with frequency as that of photographs does (Field 1987, "Relations
    between the statistics of natural images and the response properties of cortical cells").

    Args:
        keys: One stream a picture.
        shape: Channels, height and width.

    Returns:
        float32 [N, C, H, W] in [0, 1].

    Raises:
        BadValueError: No key, or a side below two pixels.
    """
    channels, height, width = shape
    if not len(keys) or min(height, width) < 2:
        raise BadValueError(f"random fields need a key and two pixels a side, got {shape}")
    white = keys.stream("field").normal(height, width).double()
    tint = 0.2 * keys.stream("tint").normal(channels, height, width).double()
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.fftfreq(width, dtype=torch.float64)
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = torch.inf  # the mean is set below
    field: Any = torch.fft.ifft2(torch.fft.fft2(white[:, None] + tint) / frequency).real
    field = field / field.std((1, 2, 3), keepdim=True)
    return (_LEVEL + _SPREAD * field).clamp(0, 1).float()


def amplifying(found: Theory, count: int = 5) -> tuple[Layer, ...]:
    """Layers after which noise has grown most relative to the signal, the largest gain first.

    Normalization scales signal and noise of a channel alike, and only weighs channels anew: it
    is left out.
    """
    grown = [layer for layer in found.layers if layer.gain > 1 and "Norm" not in layer.kind]
    return tuple(sorted(grown, key=lambda layer: -layer.gain)[:count])
