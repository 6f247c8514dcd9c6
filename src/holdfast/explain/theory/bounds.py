"""What tangent kernels say of the error of training: bounds, clean and robust.

For labels y of N images and a kernel K the leading term of the bound on the expected error is
sqrt(y' K^-1 y / N), which is at most the looser sqrt(|y|^2 / (N lambda_min)). The clean error
goes with the kernel `all` of training that mixes clean and attacked images by beta, the robust
error with `robust_all`; beta = 0 is standard training.

Source: Wu et al. 2024, "Robust NAS under adversarial training", theorem 1 and corollary 1. What
they prove holds for wide networks at initialization, and takes the attacked images as given,
although the attack depends on the weights. Differs: see `holdfast.search.proxies.ntk` for the
output that is differentiated and for batch normalization, which goes by the statistics of the
images; labels are one column a class, one or zero less the class's part, where they have -1 and 1.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import BadValueError
from holdfast.models import Classifier
from holdfast.records.explanations.theory import TangentBound, TangentKernel
from holdfast.search.proxies.base import Batch
from holdfast.search.proxies.ntk import TangentProxy, condition

Kernel = Literal["clean", "robust", "twice", "all", "robust_all"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
_EPS = Fraction(8, 255)


class _Settings(TangentProxy):
    """The kernel alone; it scores nothing."""

    def _score(self, network: nn.Module, batch: Batch) -> float:
        return math.nan


class _Whole(nn.Module):
    """A network with its normalization as a module that takes pixels.

    Where a layer is of a class of its own, such as a convolution that pads inside or a
    normalization with an activation inside, its kernel must not be taken layer by layer, by the
    formulas of the plain classes. A parameter that no layer has, and that changes nothing, lets
    the kernel be taken of the whole network instead.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, mean: tuple[float, ...] = (), std: tuple[float, ...] = ()
    ) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean or (0.0,)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std or (1.0,)).view(1, -1, 1, 1))
        if any(_own_class(module) for module in net.modules()):
            self.no_layer = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def _own_class(module: nn.Module) -> bool:
    known = (nn.Conv2d, nn.Linear, _BatchNorm)
    return isinstance(module, known) and not type(module).__module__.startswith("torch.nn.")


def _as_module(network: Classifier | nn.Module, images: Tensor) -> nn.Module:
    if isinstance(network, nn.Module):
        return _Whole(network).to(images.device)
    if not isinstance(network.net, nn.Module):
        raise BadValueError(f"{network.name} is no torch module: it has no tangent kernel")
    size = network.input_size
    if size is not None and tuple(images.shape[2:]) != size:
        raise BadValueError(
            f"{network.name} takes {size[0]}x{size[1]} pixels, got {list(images.shape)}; "
            "resize the images first"
        )
    known = network.preprocessing
    if images.shape[1] != known.channels:
        raise BadValueError(
            f"{network.name} takes images of {known.channels} channels, got {list(images.shape)}"
        )
    return _Whole(network.net, known.mean, known.std).to(images.device)


def targets(labels: Tensor) -> Tensor:
    """Labels as columns, one a class that occurs, each of mean zero; float64 [N, classes]."""
    places = torch.unique(labels, return_inverse=True)[1]
    columns = torch.nn.functional.one_hot(places).double()
    return columns - columns.mean(0)


def bound(kernel: Tensor, columns: Tensor) -> float:
    """sqrt(tr(Y' K^-1 Y) / N); NaN for a kernel that is singular but for rounding.

    Args:
        kernel: float64 [N, N], symmetric.
        columns: float64 [N, classes].
    """
    if not _regular(kernel):
        return math.nan
    solved = torch.linalg.solve(kernel, columns)
    return math.sqrt(max(0.0, float((columns * solved).sum())) / len(kernel))


def looser_bound(kernel: Tensor, columns: Tensor) -> float:
    """sqrt(|Y|^2 / (N lambda_min)), not below `bound`; NaN where that is."""
    if not _regular(kernel):
        return math.nan
    smallest = float(torch.linalg.eigvalsh(kernel)[0])
    return math.sqrt(float((columns**2).sum()) / (len(kernel) * smallest))


def _regular(kernel: Tensor) -> bool:
    if not bool(kernel.isfinite().all()):
        return False
    return math.isfinite(condition(torch.linalg.eigvalsh(kernel)))


def ntk_bounds(
    network: Classifier | nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    beta: float = 0.5,
    eps: Fraction = _EPS,
    steps: int = 7,
) -> TangentBound:
    """Spectrum and bounds of the clean, robust and twice-robust kernels, and of both mixtures.

    All images take part. The network's weights are taken as they are: the theory is about those
    of the initialization, and for trained weights the kernel is that of the last step.

    Args:
        network: Takes pixels [N, C, H, W] in [0, 1]; a classifier brings its normalization, and
            wants images of its own size. Left as it was.
        images: float32 [N, C, H, W] in [0, 1].
        labels: int64 [N], from 0, of two classes or more.
        beta: Part of the attacked images in training.
        eps: Radius of the attack, Linf.
        steps: Of the attack, whose random start is keyed by the place of an image.

    Raises:
        BadValueError: Fewer than two images or classes, images of another size, or settings that
            the kernel refuses.
    """
    if len(images) < 2 or len(torch.unique(labels)) < 2:
        raise BadValueError(
            f"a bound needs two images and two classes or more, got {len(images)} images of "
            f"{len(torch.unique(labels))} classes"
        )
    module = _as_module(network, images)
    batch = Batch(images, labels, torch.arange(len(images)))
    columns = targets(labels)
    found = []
    for name in KERNELS:
        settings = _Settings(
            kernel=name,
            beta=beta,
            eps=eps,
            steps=steps,
            batch=len(images),
        )
        found.append(_kernel(name, settings.matrix(module, batch), columns))
    return TangentBound(
        images=len(images), beta=beta, eps=float(eps), steps=steps, kernels=tuple(found)
    )


def _kernel(name: str, matrix: Tensor, columns: Tensor) -> TangentKernel:
    columns = columns.to(matrix)
    values = torch.linalg.eigvalsh(matrix) if bool(matrix.isfinite().all()) else None
    return TangentKernel(
        name=name,
        smallest=math.nan if values is None else float(values[0]),
        condition=math.nan if values is None else condition(values),
        bound=bound(matrix, columns),
        looser=looser_bound(matrix, columns),
    )
