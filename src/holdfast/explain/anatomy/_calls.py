"""Calls of leaf modules, for networks that must run for real."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.explain.anatomy._operations import Kind, Operation

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
    for kinds, read in _READERS:
        if isinstance(call.module, kinds):
            return read(call, call.module)
    name = next((n for kind, n in _ACTIVATIONS.items() if isinstance(call.module, kind)), None)
    return None if name is None else Operation("activation", name)


def _conv(call: Call, module: Any) -> Operation:
    return Operation(
        "conv",
        "convolution",
        kernel=_two(module.kernel_size),
        stride=_two(module.stride),
        dilation=_two(module.dilation)[0],
        groups=module.groups,
        learned=True,
        weighted=True,
        products=math.prod(call.after) * module.weight[0].numel(),
    )


def _linear(call: Call, module: Any) -> Operation:
    return Operation(
        "linear",
        "addmm",
        learned=True,
        weighted=True,
        contracted=module.in_features,
        products=math.prod(call.after) * module.in_features,
    )


def _attention(call: Call, _: Any) -> Operation:
    places = call.before[-2]
    name = "multi_head_attention"
    return Operation("attention", name, contracted=places, rows=places, weighted=True)


def _pool(_: Call, module: Any) -> Operation:
    word: Kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
    kernel, stride = _two(module.kernel_size), _two(module.stride)
    return Operation(word, f"{word}_pool2d", kernel=kernel, stride=stride)


def _adaptive(call: Call, module: Any) -> Operation:
    largest = isinstance(module, nn.AdaptiveMaxPool2d)
    word: Kind = "global max" if largest else "global average"
    reduced = math.prod(call.before) // max(1, math.prod(call.after))
    return Operation(word, "adaptive_pool2d", reduced=reduced)


def _norm(_: Call, module: Any) -> Operation:
    return Operation("norm", type(module).__name__)


def _shape(_: Call, __: Any) -> Operation:
    return Operation("shape", "view")


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


_READERS: tuple[tuple[Any, Callable[[Call, Any], Operation]], ...] = (
    (nn.Conv2d, _conv),
    (nn.Linear, _linear),
    (nn.MultiheadAttention, _attention),
    ((nn.MaxPool2d, nn.AvgPool2d), _pool),
    ((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), _adaptive),
    (_NORMS, _norm),
    ((nn.Flatten, nn.Identity, nn.Dropout), _shape),
)
