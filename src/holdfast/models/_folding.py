"""BatchNorm of evaluation mode, folded into the layer that feeds it.

In evaluation mode BatchNorm multiplies and shifts each channel by constants, which the weights
and the bias of the layer before it can carry (Jacob et al. 2018, arXiv:1712.05877, section 3.2).
Which layer that is, only the network's own code says; here one pass under hooks finds it: the
BatchNorm is handed the very tensor that the layer returned, and nothing else on the way to the
logits takes that tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

# Layer -> the BatchNorm that acts on the axis of its output's channels.
_PARTNERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Call(NamedTuple):
    """A tensor that a module gave or took.

    `node` had made it by then: a change in place gives the same tensor another one. Both are
    held, so that their identities are not given away.
    """

    module: nn.Module
    tensor: Tensor | None
    node: Any


def fold(net: nn.Module, run: Callable[[], Tensor]) -> int:
    """Fold what can be folded, in place, and return how many BatchNorm are gone.

    Left alone: BatchNorm without running statistics or in training mode; what is called more
    than once, carries hooks or parametrizations, or is of a class of its own; transposed
    convolutions; a layer whose output is used elsewhere too.

    Args:
        net: Frozen, in evaluation mode; changed in place.
        run: Passes images that require gradients through `net` once; gives the logits.
    """
    pairs = foldable(net, run)
    for layer, norm in pairs:
        weight, bias = folded(layer, norm)
        # New parameters, as a layer elsewhere may share the old ones.
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.bias = nn.Parameter(bias, requires_grad=False)
        drop(net, norm)
    return len(pairs)


def foldable(net: nn.Module, run: Callable[[], Tensor]) -> list[tuple[Any, Any]]:
    """Layers, each with the BatchNorm that `fold` would fold into it."""
    with _watched(net) as (given, taken):
        logits = run()
    uses = _uses(logits)
    calls = Counter(call.module for call in [*given, *taken])
    makers = {id(call.tensor): call for call in given}
    found = []
    for call in taken:
        maker = makers.get(id(call.tensor))
        if maker is None or maker.node is not call.node or uses[maker.node] != 1:
            continue
        once = calls[maker.module] == calls[call.module] == 1
        if once and _partners(maker.module, call.module, call.tensor):
            found.append((maker.module, call.module))
    return found


@contextmanager
def _watched(net: nn.Module) -> Iterator[tuple[list[_Call], list[_Call]]]:
    given: list[_Call] = []
    taken: list[_Call] = []

    def gave(module: nn.Module, inputs: Any, output: Any) -> None:
        given.append(_Call(module, output, output.grad_fn))

    def took(module: nn.Module, inputs: Any) -> None:
        # By keyword or not a tensor: an empty entry still counts the call.
        tensor = next(iter(inputs), None)
        taken.append(_Call(module, tensor, getattr(tensor, "grad_fn", None)))

    modules = [module for module in net.modules() if not _altered(module)]
    handles = [m.register_forward_hook(gave) for m in modules if type(m) in _PARTNERS]
    handles += [m.register_forward_pre_hook(took) for m in modules if _rest(m) is not None]
    try:
        yield given, taken
    finally:
        for handle in handles:
            handle.remove()


def _altered(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says."""
    return "forward" in vars(module) or any(getattr(module, hooks) for hooks in _HOOKS)


def _uses(logits: Tensor) -> Counter[Any]:
    """How many operations on the way to the logits take what each node made."""
    uses: Counter[Any] = Counter()
    waiting = [logits.grad_fn] if logits.grad_fn is not None else []
    while waiting:
        for parent, _ in waiting.pop().next_functions:
            if parent is not None:
                if not uses[parent]:
                    waiting.append(parent)
                uses[parent] += 1
    return uses


def _partners(layer: nn.Module, norm: Any, output: Any) -> bool:
    if not isinstance(norm, _PARTNERS[type(layer)]) or norm.training or norm.running_mean is None:
        return False
    # Over [B, N, F] the normalized axis is N, which is not the layer's.
    return not isinstance(layer, nn.Linear) or output.ndim == 2


def folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that does what both do; in float64, rounded once."""
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    scale = (1.0 if norm.weight is None else norm.weight.double()) / deviation
    shift = (0.0 if norm.bias is None else norm.bias.double()) - norm.running_mean.double() * scale
    if layer.bias is not None:
        shift = shift + layer.bias.double() * scale
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    kept = layer.weight.dtype
    return weight.to(kept), shift.to(kept)


def drop(net: nn.Module, norm: nn.Module) -> None:
    """Take a folded BatchNorm out of the network; what it does besides stays."""
    _replace(net, norm, _rest(norm))


def _rest(norm: nn.Module) -> nn.Module | None:
    """What a BatchNorm does besides normalizing; None for a module that is none of the known."""
    if type(norm) in _PARTNERS.values():
        return nn.Identity()
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(norm, nn.BatchNorm2d):
        # timm's: dropout and activation are parts of the normalization.
        return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
    return None


def _replace(net: nn.Module, old: nn.Module, new: Any) -> None:
    new.training = False  # and no further: a dropout inside keeps its mode
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
