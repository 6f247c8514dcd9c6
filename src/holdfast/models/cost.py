"""What a network costs: parameters and multiply-adds, counted on its layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from holdfast.models._modes import evaluating


def count_parameters(net: nn.Module) -> int:
    """Learned numbers; running statistics are none."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_multiply_adds(net: nn.Module, size: tuple[int, int, int] = (3, 32, 32)) -> int:
    """Multiply-adds of convolutions and linear layers for one image of `size` (C, H, W).

    Padding counts as pixels do, a bias as nothing, and so do normalization, activations, sums
    and pooling. With this rule NAS-Bench-201's network of 3 x 3 convolutions has the published
    220.12 million.
    """
    total = 0

    def add(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        # Each output number is a product with the weights that lead to its channel.
        total += output.numel() * layer.weight[0].numel()

    layers = [m for m in net.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        with evaluating(net), torch.no_grad():
            net(torch.zeros(1, *size))
    finally:
        for hook in hooks:
            hook.remove()
    return total
