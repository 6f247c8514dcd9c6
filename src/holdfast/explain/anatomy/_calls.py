"""Calls of leaf modules, for networks that must run for real."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.explain.anatomy._operations import Operation

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)  # noqa: SLF001 - no public base
_ACTIVATIONS = {
    nn.ReLU: "relu", nn.GELU: "gelu", nn.SiLU: "silu", nn.Hardswish: "hardswish",
    nn.LeakyReLU: "leaky_relu", nn.ELU: "elu", nn.Mish: "mish", nn.ReLU6: "hardtanh",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call of a module: its name, and the shapes that went in and came out."""

    name: str
    module: nn.Module
    before: tuple[int, ...]
    after: tuple[int, ...]


def observe_calls(net: nn.Module, image: Tensor) -> tuple[Any, list[Call], list[str]]:
    """Run an image, and write down the calls of modules without children, in order."""
    calls: list[Call] = []
    layers: list[str] = []
    hooks = []
    for name, module in net.named_modules():
        if any(True for _ in module.children()) and not isinstance(module, nn.MultiheadAttention):
            continue

        def seen(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            layers.append(type(module).__name__)
            given = output[0] if isinstance(output, tuple) else output
            if inputs and isinstance(inputs[0], Tensor) and isinstance(given, Tensor):
                calls.append(Call(name, module, tuple(inputs[0].shape), tuple(given.shape)))

        hooks.append(module.register_forward_hook(seen))
    try:
        with torch.no_grad():
            return net(image), calls, layers
    finally:
        for hook in hooks:
            hook.remove()


def module_step(call: Call) -> Operation | None:
    """What a module does, None where it is not known."""
    module: Any = call.module
    if isinstance(module, nn.Conv2d):
        return Operation(
            "conv", "convolution", kernel=_two(module.kernel_size), stride=_two(module.stride),
            dilation=_two(module.dilation)[0], groups=module.groups, learned=True, weighted=True,
            products=math.prod(call.after) * module.weight[0].numel(),
        )  # fmt: skip
    if isinstance(module, nn.Linear):
        return Operation(
            "linear", "addmm", learned=True, weighted=True, contracted=module.in_features,
            products=math.prod(call.after) * module.in_features,
        )  # fmt: skip
    if isinstance(module, nn.MultiheadAttention):
        places = call.before[-2]
        return Operation(
            "attention", "multi_head_attention", contracted=places, rows=places, weighted=True
        )
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
        return Operation(
            kind, f"{kind}_pool2d", kernel=_two(module.kernel_size), stride=_two(module.stride)
        )  # fmt: skip
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        word = "global max" if isinstance(module, nn.AdaptiveMaxPool2d) else "global average"
        reduced = math.prod(call.before) // max(1, math.prod(call.after))
        return Operation(word, "adaptive_pool2d", reduced=reduced)  # type: ignore[arg-type]
    if isinstance(module, _NORMS):
        return Operation("norm", type(module).__name__)
    if isinstance(module, nn.Flatten | nn.Identity | nn.Dropout):
        return Operation("shape", "view")
    name = next((n for kind, n in _ACTIVATIONS.items() if isinstance(module, kind)), None)
    return None if name is None else Operation("activation", name)


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
