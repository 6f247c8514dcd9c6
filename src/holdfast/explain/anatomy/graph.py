"""The operations of a network, as PyTorch's dispatcher sees them run on one image.

A network on the meta device computes shapes alone: no weights are needed, and functional pooling,
slicing and attention are seen as modules are. What must look at values cannot run there; it runs
on the CPU, from zeros, and only the calls of its modules are seen (`traced` is then `hooks`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from holdfast.core.errors import BadValueError
from holdfast.explain.anatomy._calls import module_step, observe_calls
from holdfast.explain.anatomy._operations import Operation, read_operation

Traced = Literal["meta", "hooks"]


@dataclass(frozen=True)
class Step:
    """One operation on the way from image to logits.

    Attributes:
        place: Order of running, from 0.
        operation: What it does: kind, window, stride, products.
        module: Dotted name of the innermost module that runs; empty for the network itself.
        layer: Class of that module.
        inputs: Numbers of the tensors that depend on the image.
        outputs: Numbers of what it gives.
        shapes: Of the inputs.
        shape: Of the first output.
    """

    place: int
    operation: Operation
    module: str
    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """All operations on one image [1, C, H, W], in order of running; the image is tensor 0."""

    steps: tuple[Step, ...]
    output: int  # number of the logits
    image: tuple[int, int, int]
    traced: Traced
    layers: tuple[str, ...]  # classes of all modules that ran, one a call
    flags: tuple[str, ...] = ()

    def makers(self) -> dict[int, Step]:
        """Step that made each tensor; the image has none."""
        return {number: step for step in self.steps for number in step.outputs}

    def users(self) -> dict[int, list[Step]]:
        """Steps that take each tensor."""
        found: dict[int, list[Step]] = {}
        for step in self.steps:
            for number in step.inputs:
                found.setdefault(number, []).append(step)
        return found


def trace(net: nn.Module, input_size: tuple[int, int, int]) -> Graph:
    """Run one blank image through a network, and see what runs.

    Args:
        net: In evaluation mode; on the meta device, or with weights. Left as it was.
        input_size: Of the image: channels, height, width.

    Raises:
        BadValueError: It runs neither on the meta device nor for real.
    """
    try:
        return _dispatched(_on_meta(net), input_size)
    except Exception as first:  # noqa: BLE001 - a network may raise anything
        try:
            found = _called(net, input_size)
        except Exception as error:
            raise BadValueError(
                f"{type(net).__name__} does not run on one image {list(input_size)}: {_said(error)}"
            ) from error
        reason = f"It cannot run without values ({_said(first)}), so it was read from the calls"
        return Graph(
            found.steps,
            found.output,
            found.image,
            "hooks",
            found.layers,
            (f"{reason} of its modules: what happens between modules was not seen.",),
        )


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else "no message"
    return f"{type(error).__name__}: {text[:160]}"


def _on_meta(net: nn.Module) -> nn.Module:
    tensors = [*net.parameters(), *net.buffers()]
    if all(tensor.is_meta for tensor in tensors):
        return net
    twin = copy.deepcopy(net)
    return twin.to("meta")


def _dispatched(net: nn.Module, size: tuple[int, int, int]) -> Graph:
    image = torch.zeros(1, *size, device="meta")
    watch = _Watch(net, image)
    with _where(net, watch), torch.no_grad(), watch:
        output = net(image)
    number = watch.number_of(_first(output))
    if number is None:
        raise BadValueError("its output does not depend on the image")
    return Graph(tuple(watch.steps), number, size, "meta", tuple(watch.layers))


def _called(net: nn.Module, size: tuple[int, int, int]) -> Graph:
    """The same from the calls of leaf modules alone, on the CPU."""
    meta = any(tensor.is_meta for tensor in [*net.parameters(), *net.buffers()])
    real = copy.deepcopy(net).to_empty(device="cpu") if meta else net
    if meta:
        for tensor in [*real.parameters(), *real.buffers()]:
            tensor.detach().zero_()
    device = next((p.device for p in real.parameters()), torch.device("cpu"))
    with torch.no_grad():
        output, calls, layers = observe_calls(real, torch.zeros(1, *size, device=device))
    steps: list[Step] = []
    numbers = {0: 0}  # by order of calls: each takes what the last one gave
    for call in calls:
        step = module_step(call)
        if step is None:
            continue
        place = len(steps)
        steps.append(
            Step(
                place,
                step,
                call.name,
                type(call.module).__name__,
                (numbers[len(numbers) - 1],),
                (place + 1,),
                (call.before,),
                call.after,
            )
        )
        numbers[len(numbers)] = place + 1
    if not steps or not isinstance(_first(output), Tensor):
        raise BadValueError("none of its modules is known")
    return Graph(tuple(steps), len(steps), size, "hooks", tuple(layers))


def _first(output: Any) -> Any:
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    return leaves[0] if leaves else None


@dataclass
class _Stack:
    names: list[tuple[str, str]] = field(default_factory=list)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Writes down each operation that has the image, or what came of it, among its inputs."""

    def __init__(self, net: nn.Module, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.layers: list[str] = []
        self.stack = _Stack()
        self._kept: list[Any] = [image]  # an id is one object's as long as that lives
        self._numbers = {id(image): 0}
        self._next = 1
        # Weights and what is computed from them, but not from the image.
        self._learned = {id(p) for p in net.parameters()}

    def number_of(self, tensor: Any) -> int | None:
        return self._numbers.get(id(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        known = [t for t in tensors if id(t) in self._numbers]
        inputs = tuple(self._numbers[id(t)] for t in known)
        shapes = tuple(tuple(t.shape) for t in known)
        out = func(*args, **kwargs)
        given = [one for one in tree_leaves(out) if isinstance(one, Tensor)]
        self._kept += given
        learned = any(id(t) in self._learned for t in tensors)
        if not inputs:
            if learned:
                self._learned |= {id(t) for t in given}
            return out
        operation = read_operation(func, args, kwargs, out, learned=self._weight_learned(args))
        numbers = tuple(range(self._next, self._next + len(given)))
        self._next += len(given)
        self._numbers |= {id(t): number for t, number in zip(given, numbers, strict=True)}
        name, layer = self.stack.names[-1] if self.stack.names else ("", "")
        self.steps.append(
            Step(
                len(self.steps),
                operation,
                name,
                layer,
                tuple(dict.fromkeys(inputs)),
                numbers,
                shapes,
                tuple(given[0].shape) if given else (),
            )
        )
        return out

    def _weight_learned(self, args: tuple[Any, ...]) -> bool:
        """Whether a tensor beside the image's is learned: a fixed kernel blurs."""
        others = [one for one in tree_leaves(args) if isinstance(one, Tensor)]
        return any(id(one) in self._learned for one in others)


@contextmanager
def _where(net: nn.Module, watch: _Watch) -> Iterator[None]:
    """Let the watch know which module runs."""
    names = {id(module): name for name, module in net.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        watch.stack.names.append((names.get(id(module), ""), type(module).__name__))
        watch.layers.append(type(module).__name__)

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        watch.stack.names.pop()

    hooks = []
    for module in net.modules():
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def positions(shape: tuple[int, ...]) -> float:
    """Places of a map [B, C, H, W]; infinite for what is no map."""
    return math.prod(shape[2:]) if len(shape) == 4 else math.inf
