"""One operation of the dispatcher in the words of anatomy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "conv",  # of two spatial dimensions
    "linear",  # a weight matrix at each position
    "product",  # of two tensors that both depend on the image
    "attention",  # a fused operation that attends
    "softmax",
    "max",
    "average",
    "global average",
    "global max",
    "resize",
    "unfold",
    "gate",  # a product element by element
    "sum",
    "join",  # side by side
    "shape",  # other shape or order, the same numbers
    "pick",  # some of the numbers
    "norm",
    "activation",
    "other",
]
_SHAPES = {
    "view", "_unsafe_view", "t", "transpose", "permute", "expand", "clone", "alias", "unsqueeze",
    "squeeze", "contiguous", "_reshape_alias", "as_strided", "as_strided_", "detach", "_to_copy",
    "unbind", "split", "split_with_sizes", "roll", "pixel_unshuffle", "pixel_shuffle", "unflatten",
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "channel_shuffle", "movedim",
    "_reshape_copy", "view_copy", "chunk",
}  # fmt: skip
_ACTIVATIONS = {
    "relu": "relu", "relu_": "relu", "gelu": "gelu", "gelu_": "gelu", "silu": "silu",
    "silu_": "silu", "hardswish": "hardswish", "hardswish_": "hardswish",
    "leaky_relu": "leaky_relu", "leaky_relu_": "leaky_relu", "elu": "elu", "elu_": "elu",
    "mish": "mish", "mish_": "mish", "hardtanh": "relu6", "hardtanh_": "relu6",
    "_prelu_kernel": "prelu", "prelu": "prelu", "selu": "selu", "celu": "celu",
}  # fmt: skip
_NORMS = {
    "native_batch_norm", "_native_batch_norm_legit_no_training", "native_layer_norm",
    "native_group_norm", "_native_batch_norm_legit", "_fused_rms_norm", "rms_norm",
    "_batch_norm_no_update",
}  # fmt: skip
_SUMS = {"add", "add_", "sub", "sub_"}
_GATES = {"mul", "mul_", "div", "div_"}
_SOFTMAX = {"_softmax", "_safe_softmax", "softmax"}
_GLOBAL_MAX = {"amax", "adaptive_max_pool2d", "max"}
_FUSED = {
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math",
    "scaled_dot_product_attention", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd", "_scaled_dot_product_fused_attention_overrideable",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """What an operation does.

    Attributes:
        kind: In our words.
        name: In PyTorch's.
        kernel: Height and width of its window; (1, 1) where there is none.
        stride: Of the window.
        dilation: Of a convolution.
        groups: Of a convolution.
        learned: Whether its kernel is learned, and not fixed.
        weighted: Whether it counts as a layer.
        products: Multiply-adds.
        contracted: Numbers that each product of a matrix sums over; of a softmax, its places.
        rows: Of a product of two matrices, the shorter side of the result; 1 is a weighted mean.
        reduced: Of a mean, how many numbers become one.
        transposed: Whether a convolution enlarges.
        enlarged: Of a resize, new height over old.
    """

    kind: Kind
    name: str
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    groups: int = 1
    learned: bool = False
    weighted: bool = False
    products: int = 0
    contracted: int = 0
    rows: int = 0
    reduced: int = 1
    transposed: bool = False
    enlarged: float = 1.0

    @property
    def spatial(self) -> bool:
        """Whether its window is wider than one pixel."""
        return max(self.kernel) > 1


@dataclass(frozen=True)
class _Called:
    """A call of the dispatcher; `learned`: a learned tensor is among its arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    learned: bool


def read_operation(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, *, learned: bool
) -> Operation:
    """Read a call of the dispatcher.

    Args:
        func: The overload that was called.
        args: Of the call.
        kwargs: Likewise.
        out: What it gave.
        learned: Whether a learned tensor is among the arguments.
    """
    name = func.overloadpacket.__name__
    called = _Called(name, args, kwargs, out, learned)
    if name.startswith("upsample"):
        return Operation("resize", name, enlarged=out.shape[-2] / args[0].shape[-2])
    if name == "slice" and len(args) > 4 and args[4] > 1:
        return Operation("pick", name, stride=(args[4], args[4]))
    read = _READERS.get(name)
    return Operation(_PLAIN.get(name, "other"), name) if read is None else read(called)


def activation_name(name: str) -> str | None:
    """Activation that an operation of PyTorch is; None for others."""
    return _ACTIVATIONS.get(name)


def _convolution(called: _Called) -> Operation:
    args, learned = called.args, called.learned
    weight, stride, dilation = args[1], args[3], args[5]
    transposed, groups = bool(args[6]), int(args[8])
    products = called.out.numel() * weight[0].numel()
    if transposed:
        products = args[0].numel() * weight[0].numel()
    if weight.ndim != 4:
        return Operation(
            "linear", called.name, learned=learned, weighted=learned, products=products
        )
    return Operation(
        "conv",
        called.name,
        kernel=(int(weight.shape[2]), int(weight.shape[3])),
        stride=_pair(stride),
        dilation=int(dilation[0]),
        groups=groups,
        learned=learned,
        weighted=learned,
        products=products,
        transposed=transposed,
    )


def _matrices(called: _Called) -> Operation:
    name, args, out = called.name, called.args, called.out
    first = args[1] if name in ("addmm", "baddbmm") else args[0]
    contracted = int(first.shape[-1])
    products = out.numel() * contracted
    # Learned queries meet keys in a batched product; layers work on all positions at once.
    if called.learned and name != "bmm":
        return Operation(
            "linear", name, learned=True, weighted=True, products=products, contracted=contracted
        )
    return Operation(
        "product",
        name,
        products=products,
        contracted=contracted,
        rows=min(int(out.shape[-2]), int(out.shape[-1])),
    )


def _softmax(called: _Called) -> Operation:
    args = called.args
    axis = args[1] if len(args) > 1 else called.kwargs.get("dim", -1)
    return Operation("softmax", called.name, contracted=args[0].shape[axis])


def _unfold(called: _Called) -> Operation:
    kernel, stride = _pair(called.args[1]), _pair(called.args[4])
    return Operation("unfold", called.name, kernel=kernel, stride=stride)


def _fused(called: _Called) -> Operation:
    query, key = called.args[0], called.args[1]
    places = int(key.shape[-2])
    products = 2 * query.numel() * places
    return Operation(
        "attention", called.name, products=products, contracted=places, rows=int(query.shape[-2])
    )


def _window(called: _Called) -> Operation:
    name, args = called.name, called.args
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    dilation = args[4] if name.startswith("max") and len(args) > 4 else 1
    whole = kernel == tuple(args[0].shape[-2:]) and max(kernel) > 1
    if whole:  # one window: all positions become one
        word: Kind = "global max" if name.startswith("max") else "global average"
        return Operation(word, name, reduced=math.prod(kernel))
    return Operation(
        "max" if name.startswith("max") else "average",
        name,
        kernel=kernel,
        stride=stride,
        dilation=_pair(dilation)[0],
    )


def _reduction(called: _Called) -> Operation:
    name, out = called.name, called.out
    result = out[0] if isinstance(out, list | tuple) else out
    before, after = called.args[0].numel(), max(1, result.numel())
    word: Kind = "global max" if name in _GLOBAL_MAX else "global average"
    return Operation(word, name, reduced=before // after)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    numbers = [int(one) for one in value]
    return (numbers[0], numbers[-1]) if numbers else (1, 1)


_READERS: Mapping[str, Callable[[_Called], Operation]] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(("addmm", "mm", "bmm", "baddbmm", "linear"), _matrices),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"), _window),
    **dict.fromkeys(("mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d"), _reduction),
    **dict.fromkeys(_GLOBAL_MAX, _reduction),
    **dict.fromkeys(_SOFTMAX, _softmax),
    **dict.fromkeys(_FUSED, _fused),
    "im2col": _unfold,
}
_PLAIN: Mapping[str, Kind] = {
    **dict.fromkeys(_ACTIVATIONS, "activation"),
    **dict.fromkeys(_SHAPES, "shape"),
    **dict.fromkeys(("select", "slice", "index", "index_select", "gather"), "pick"),
    **dict.fromkeys(_SUMS, "sum"),
    **dict.fromkeys(_GATES, "gate"),
    **dict.fromkeys(("cat", "stack"), "join"),
    **dict.fromkeys(_NORMS, "norm"),
}
