"""Untrained networks as proxies look at them: private copies in a stated mode.

No copy shares a tensor with the network it was made of, so that a proxy may do to it what it
likes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import BadValueError
from holdfast.models.loading import keyed_initialization

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
_FLAT = 1e-6  # deviation of a channel without contrast


class Standardized(nn.Module):
    """A network that takes pixels and hands them on with mean 0 and deviation 1 a channel.

    Attributes:
        net: What takes standardized images.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, net: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.net = net
        center, spread = _center_and_spread(images)
        self.register_buffer("center", center)
        self.register_buffer("spread", spread)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.center) / self.spread)
        return logits


def standardized(images: Tensor) -> Tensor:
    """Images [B, C, H, W] with mean 0 and deviation 1 a channel."""
    center, spread = _center_and_spread(images)
    return (images - center) / spread


def _center_and_spread(images: Tensor) -> tuple[Tensor, Tensor]:
    spread, center = torch.std_mean(images, (0, 2, 3), keepdim=True)
    return center, spread.clamp(min=_FLAT)


def bare(network: nn.Module) -> nn.Module:
    """The network without what standardizes its images."""
    return network.net if isinstance(network, Standardized) else network


def drawn(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Network of `make` with weights keyed by a seed; the global generator is put back."""
    with keyed_initialization(f"untrained network {seed}"):
        return make()


def fresh_copy(network: nn.Module) -> nn.Module:
    """Copy whose weights take gradients, in evaluation mode."""
    made = copy.deepcopy(network).eval()
    for weight in made.parameters():
        weight.requires_grad_(True)
    return made


def normalizing(network: nn.Module) -> nn.Module:
    """Copy whose batch normalization goes by the batch at hand, as in a training step.

    Nothing else is in training mode: dropout would draw from a global generator.
    """
    return normalize_by_batch(fresh_copy(network))


def normalize_by_batch(network: nn.Module) -> nn.Module:
    """Give back the network itself, set so that its batch normalization goes by the batch."""
    for module in network.eval().modules():
        if isinstance(module, _BatchNorm):
            module.train()
    return network


def calibrated(network: nn.Module, images: Tensor) -> nn.Module:
    """Copy whose batch normalization goes by the statistics of `images`, held fixed.

    An untrained network in evaluation mode would not normalize at all; one in training mode
    mixes its samples, so that no gradient belongs to one of them. Here each image has logits
    of its own, in a network scaled as in its first training step.
    """
    return calibrate(fresh_copy(network), images)


def calibrate(network: nn.Module, images: Tensor) -> nn.Module:
    """Give back the network itself, set as `calibrated` says."""
    for module in normalize_by_batch(network).modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = True
            width, like = module.num_features, images.new_zeros(module.num_features)
            module.running_mean, module.running_var = like.clone(), like.new_ones(width)
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=images.device)
            module.momentum = None  # the plain mean over batches: of one
    with torch.no_grad():
        network(images)
    return network.eval()


def without_normalization(network: nn.Module) -> nn.Module:
    """Copy without batch normalization."""
    made = fresh_copy(network)
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, nn.Identity())
    return made


def layers(network: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers.

    Raises:
        BadValueError: There is none.
    """
    found = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    if not found:
        raise BadValueError("the network has no convolution and no linear layer")
    return found


def weights(network: nn.Module) -> list[Tensor]:
    """Weights of convolutions and linear layers, without biases."""
    return [layer.weight for layer in layers(network)]


def gradients(
    value: Tensor, wanted: Sequence[Tensor], *, graph: bool = False, again: bool = False
) -> list[Tensor]:
    """Gradients of a scalar; zeros for what it does not depend on.

    Args:
        value: Scalar.
        wanted: Leaves or results on the way to it.
        graph: Whether the gradients shall be differentiated.
        again: Whether `value` will be differentiated again.
    """
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in wanted]
    return list(
        torch.autograd.grad(
            value, wanted, create_graph=graph, retain_graph=graph or again, materialize_grads=True
        )
    )


@dataclass
class Pass:
    """One use of a layer in a forward pass."""

    layer: nn.Module
    before: Tensor
    after: Tensor


@dataclass
class Record:
    """Uses of layers, in the order in which they ran."""

    passes: list[Pass] = field(default_factory=list)


@contextmanager
def recording(network: nn.Module, wanted: Callable[[nn.Module], bool]) -> Iterator[Record]:
    """Keep what goes in and out of the wanted modules while the context lasts.

    What goes on is a copy of what is kept, so that nothing which later works in place changes it.
    """
    record = Record()

    def keep(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, Tensor) or not inputs or not isinstance(inputs[0], Tensor):
            return output
        record.passes.append(Pass(layer, inputs[0], output))
        return output.clone()

    hooks = [m.register_forward_hook(keep) for m in network.modules() if wanted(m)]
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no parts."""
    return not any(True for _ in module.children())


def is_relu(module: nn.Module) -> bool:
    """Whether a module is a ReLU."""
    return isinstance(module, nn.ReLU | nn.ReLU6)
