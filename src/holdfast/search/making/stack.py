"""A stack of NAS-Bench-201 networks that are trained and attacked side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.models.nb201 import EDGES
from holdfast.search.making.rows import NORM_EPS, BatchNorm, Join, RowConv, Split, banded, pooling

SKIP, CONV = "skip_connect", "nor_conv_3x3"
OPERATIONS = ("none", SKIP, CONV)
_STAGES = 3
_MOMENTUM = 0.1  # of running statistics, torch's default
_NODES = 4
Cell = tuple[str, ...]
Seen = dict[str, tuple[Tensor, Tensor]]  # mean and unbiased variance [G, C], by normalization


@dataclass(frozen=True)
class Size:
    """Of the networks: one cell a stage, gray images of `side` pixels."""

    channels: int = 8
    side: int = 8
    classes: int = 10


@dataclass(frozen=True)
class Block:
    """A convolution with its normalization, ready to be applied.

    Attributes:
        matrices: [G, 3, D, D'], see `banded`; times the normalization's scale where `shift` is set.
        weight: Of the normalization, [G, C]; None in evaluation.
        bias: Of the normalization, [G, C]; in evaluation what remains to be added.
        name: Prefix of the normalization's parameters.
    """

    matrices: Tensor
    weight: Tensor | None
    bias: Tensor
    name: str
    stride: int = 1
    relu: bool = True

    def __call__(self, features: Tensor, seen: Seen) -> Tensor:
        """Features [G, B, H, D] to [G, B, H / stride, D']; statistics go to `seen`."""
        moved = RowConv.apply(features, self.matrices, self.stride, self.relu)
        if self.weight is None:
            return moved + _tiled(self.bias, moved)
        out, mean, variance = BatchNorm.apply(moved, self.weight, self.bias)
        seen[self.name] = mean, _unbiased(variance, moved)
        return out


class Stack:
    """Networks of one size with different cells; every tensor has the network as first axis.

    Attributes:
        cells: Six operations a network, out of `OPERATIONS`.
        parameters: By the names of `build_nb201`'s; those of an edge hold only the networks
            that have a convolution there (`owners`).
        statistics: Running means and variances, likewise.
    """

    def __init__(self, cells: Sequence[Cell], size: Size, *, seed: int) -> None:
        """Draw initial weights, keyed by seed and parameter name: the same for every network.

        Raises:
            BadValueError: An operation that these stacks cannot do.
        """
        unknown = {name for cell in cells for name in cell} - set(OPERATIONS)
        if unknown:
            raise BadValueError(
                f"a stack has cells of {', '.join(OPERATIONS)} alone, got {', '.join(unknown)}"
            )
        self.cells = tuple(cells)
        self.size = size
        self.convs = [self._having(CONV, edge) for edge in range(len(EDGES))]
        self.skips = [self._having(SKIP, edge) for edge in range(len(EDGES))]
        self.parameters: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        for name, shape in self._shapes():
            count = len(self.owners(name))
            if count == 0:
                continue
            if name.endswith(("running_mean", "running_var")):
                full = torch.full(shape, float(name.endswith("var")))
                self.statistics[name] = full.repeat(count, *[1] * len(shape))
            else:
                value = _initial(name, shape, size.channels * 2 ** (_STAGES - 1), seed)
                self.parameters[name] = value.repeat(count, *[1] * len(shape)).requires_grad_()

    def owners(self, name: str) -> list[int]:
        """Places of the networks that have a parameter of this name."""
        parts = name.split(".")
        if "layers" in parts:
            return self.convs[int(parts[3])]
        return list(range(len(self.cells)))

    def state(self, place: int) -> dict[str, Tensor]:
        """State of one network, as `build_nb201` would load it."""
        found = {}
        for name, value in [*self.parameters.items(), *self.statistics.items()]:
            owners = self.owners(name)
            if place in owners:
                found[name] = value[owners.index(place)].detach().clone()
        return found

    def prepared(self, *, training: bool) -> Prepared:
        """Matrices made of the present parameters; for evaluation without their gradients."""
        if training:
            return Prepared(self, training=True)
        with torch.no_grad():
            return Prepared(self, training=False)

    def _having(self, operation: str, edge: int) -> list[int]:
        return [place for place, cell in enumerate(self.cells) if cell[edge] == operation]

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all parameters and statistics, in the order of `build_nb201`."""
        width = self.size.channels
        yield "stem.0.weight", (width, 1, 3, 3)
        yield from _norm_shapes("stem.1", width)
        for stage in range(_STAGES):
            width = self.size.channels * 2**stage
            if stage:
                name = f"cells.{2 * stage - 1}"
                yield from _conv_shapes(f"{name}.conv_a", width // 2, width)
                yield from _conv_shapes(f"{name}.conv_b", width, width)
                yield f"{name}.downsample.1.weight", (width, width // 2, 1, 1)
            for edge in range(len(EDGES)):
                yield from _conv_shapes(f"cells.{2 * stage}.layers.{edge}", width, width)
        yield from _norm_shapes("lastact.0", width)
        yield "classifier.weight", (self.size.classes, width)
        yield "classifier.bias", (self.size.classes,)


class Prepared:
    """A stack that can be called; in training, gradients reach the stack's parameters."""

    def __init__(self, stack: Stack, *, training: bool) -> None:
        self._stack = stack
        self.count = len(stack.cells)
        self._training = training
        side = stack.size.side
        self._stem = self._block("stem.0", "stem.1", side, relu=False)
        self._edges: dict[tuple[int, int], Block] = {}
        self._reductions: list[tuple[Block, Block, Tensor]] = []
        for stage in range(_STAGES):
            width = side // 2**stage
            if stage:
                self._reductions.append(self._reduction(f"cells.{2 * stage - 1}", 2 * width))
            for edge in range(len(EDGES)):
                if stack.convs[edge]:
                    name = f"cells.{2 * stage}.layers.{edge}.op"
                    self._edges[stage, edge] = self._block(f"{name}.1", f"{name}.2", width)

    def __call__(self, images: Tensor) -> Tensor:
        """Gray images [G, B, side, side], or [1, B, ...] for all, to logits [G, B, classes].

        In training it updates the running statistics.
        """
        seen: Seen = {}
        images = images.expand(self.count, -1, -1, -1)
        features = self._stem(images, seen)
        for stage in range(_STAGES):
            if stage:
                conv_a, conv_b, shortcut = self._reductions[stage - 1]
                features = conv_b(conv_a(features, seen), seen) + _halved(features, shortcut)
            features = self._cell(features, stage, seen)
        logits = self._head(features, seen)
        self._keep(seen)
        return logits

    def _cell(self, features: Tensor, stage: int, seen: Seen) -> Tensor:
        stack, node = self._stack, features
        arriving: list[list[tuple[list[int], Tensor]]] = [[] for _ in range(_NODES)]
        for start in range(_NODES - 1):
            leaving = [
                (edge, end, places, conv)
                for edge, (begin, end) in enumerate(EDGES)
                for places, conv in ((stack.convs[edge], True), (stack.skips[edge], False))
                if begin == start and places
            ]
            parts = Split.apply(node, [places for _, _, places, _ in leaving])
            for (edge, end, places, conv), part in zip(leaving, parts, strict=True):
                moved = self._edges[stage, edge](part, seen) if conv else part
                arriving[end].append((places, moved))
            places_in = [places for places, _ in arriving[start + 1]]
            node = Join.apply(features, places_in, *[moved for _, moved in arriving[start + 1]])
        return node

    def _head(self, features: Tensor, seen: Seen) -> Tensor:
        parameters = self._stack.parameters
        weight, bias = parameters["lastact.0.weight"], parameters["lastact.0.bias"]
        if self._training:
            features, mean, variance = BatchNorm.apply(features, weight, bias)
            seen["lastact.0"] = mean, _unbiased(variance, features)
        else:
            scale, shift = self._folded("lastact.0")
            features = features * _tiled(scale, features) + _tiled(shift, features)
        count, images, height, _ = features.shape
        pixels = features.relu().view(count, images, height * height, -1)
        head, constant = parameters["classifier.weight"], parameters["classifier.bias"]
        if not self._training:
            head, constant = head.detach(), constant.detach()
        return torch.baddbmm(constant[:, None], pixels.mean(2), head.transpose(1, 2))

    def _block(
        self, conv: str, norm: str, width: int, *, stride: int = 1, relu: bool = True
    ) -> Block:
        parameters = self._stack.parameters
        kernels = parameters[f"{conv}.weight"]
        if self._training:
            weight, bias = parameters[f"{norm}.weight"], parameters[f"{norm}.bias"]
            return Block(banded(kernels, width, stride), weight, bias, norm, stride, relu)
        scale, shift = self._folded(norm)
        matrices = banded(kernels * scale[:, :, None, None, None], width, stride)
        return Block(matrices, None, shift, norm, stride, relu)

    def _folded(self, norm: str) -> tuple[Tensor, Tensor]:
        """Scale and shift [G, C] that a normalization is in evaluation."""
        parameters, statistics = self._stack.parameters, self._stack.statistics
        inverse = (statistics[f"{norm}.running_var"] + NORM_EPS).rsqrt()
        scale = parameters[f"{norm}.weight"].detach() * inverse
        shifted = statistics[f"{norm}.running_mean"] * scale
        return scale, parameters[f"{norm}.bias"].detach() - shifted

    def _reduction(self, name: str, width: int) -> tuple[Block, Block, Tensor]:
        conv_a = self._block(f"{name}.conv_a.op.1", f"{name}.conv_a.op.2", width, stride=2)
        conv_b = self._block(f"{name}.conv_b.op.1", f"{name}.conv_b.op.2", width // 2)
        kernels = self._stack.parameters[f"{name}.downsample.1.weight"]
        return conv_a, conv_b, pooling(kernels, width)

    def _keep(self, seen: Seen) -> None:
        for name, (mean, variance) in seen.items():
            for what, value in (("running_mean", mean), ("running_var", variance)):
                kept = self._stack.statistics[f"{name}.{what}"]
                kept.mul_(1 - _MOMENTUM).add_(value * _MOMENTUM)


def _conv_shapes(name: str, before: int, after: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.op.1.weight", (after, before, 3, 3)
    yield from _norm_shapes(f"{name}.op.2", after)


def _norm_shapes(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for what in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{what}", (width,)


def _initial(name: str, shape: tuple[int, ...], inputs: int, seed: int) -> Tensor:
    """Torch's own distributions: uniform within 1 / sqrt(inputs); normalizations do nothing."""
    if name.endswith("bias") and not name.startswith("classifier"):
        return torch.zeros(shape)
    if len(shape) == 1 and not name.startswith("classifier"):
        return torch.ones(shape)
    limit = 1 / math.sqrt(math.prod(shape[1:]) if len(shape) > 1 else inputs)
    keys = keys_for(torch.zeros(1, dtype=torch.int64), seed=seed, stream=f"initial {name}")
    return keys.uniform(*shape, low=-limit, high=limit)[0].float()


def _halved(features: Tensor, shortcut: Tensor) -> Tensor:
    """Mean over 2 x 2 pixels, and the 1 x 1 convolution in `shortcut`."""
    pairs = features[:, :, 0::2] + features[:, :, 1::2]
    return torch.bmm(pairs.flatten(1, 2), shortcut).view(*pairs.shape[:3], -1)


def _unbiased(variance: Tensor, features: Tensor) -> Tensor:
    many = features[0].numel() // variance.shape[1]
    return variance * (many / max(1, many - 1))


def _tiled(values: Tensor, like: Tensor) -> Tensor:
    return values.repeat(1, like.shape[3] // values.shape[1])[:, None, None]
