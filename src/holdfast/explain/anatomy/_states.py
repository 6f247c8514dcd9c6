"""What each tensor of a graph has seen of the image: receptive field, resolution, layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from holdfast.explain.anatomy._operations import Operation
from holdfast.explain.anatomy.graph import Graph, Step

Mixing = Literal["conv", "attention", "token mlp", "pool"]
_NEARLY_ALL = 0.9  # of the positions; a class token or two may be beside them
_TOKENS = 2  # class tokens: one, and one for distillation
_SQUARE = 4  # numbers in a window of two by two


@dataclass(frozen=True)
class State:
    """One tensor.

    Attributes:
        field: Receptive field in pixels along one side; inf sees everything.
        jump: Pixels from one position to the next.
        size: Positions of the map, height and width.
        channels: Numbers a position.
        depth: Layers with weights on the longest way to it.
        pooled: Whether one number stands for all positions.
        scores: Of products between positions before they are applied: how many each compares.
        weighed: Whether a softmax went over those scores.
    """

    field: float
    jump: float
    size: tuple[int, int]
    channels: int
    depth: int = 0
    pooled: bool = False
    scores: int = 0
    weighed: bool = False

    @property
    def places(self) -> int:
        """Positions of the map."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Effect:
    """What a step did to the resolution and between positions."""

    reduction: int = 1
    mixing: Mixing | None = None
    kind: str = ""  # of the reduction


class States:
    """States of all tensors of a graph, and the effect of each step."""

    def __init__(self, graph: Graph) -> None:
        channels, height, width = graph.image
        self.of: dict[int, State] = {0: State(1.0, 1.0, (height, width), channels)}
        self.effects: list[Effect] = []
        self._makers: dict[int, Step] = {}
        for step in graph.steps:
            state, effect = self._after(step)
            self.effects.append(effect)
            self._makers |= dict.fromkeys(step.outputs, step)
            self.of |= dict.fromkeys(step.outputs, state)

    def _after(self, step: Step) -> tuple[State, Effect]:
        operation = step.operation
        before = self._joined(step)
        if operation.kind in ("conv", "max", "average", "unfold", "resize"):
            return self._windowed(step, before)
        if operation.kind in ("global average", "global max"):
            return self._reduced(operation, before)
        if operation.kind in ("linear", "product", "attention", "softmax"):
            return self._mixed(step, before)
        if operation.kind in ("shape", "pick"):
            return self._reshaped(step, before)
        return before, Effect()

    def _joined(self, step: Step) -> State:
        """State of all inputs together; a gate that is the same everywhere is none of them."""
        states = [self.of[number] for number in step.inputs]
        if step.operation.kind == "gate" and len({one.pooled for one in states}) > 1:
            states = [one for one in states if not one.pooled]
        widest = max(states, key=lambda one: (one.places if not one.pooled else 0, one.field))
        if step.operation.kind in ("product", "attention"):
            widest = states[0]  # the query, whose resolution goes on
        return replace(
            widest,
            field=max(one.field for one in states),
            depth=max(one.depth for one in states),
            scores=max(one.scores for one in states),
            weighed=any(one.weighed for one in states),
        )

    def _windowed(self, step: Step, before: State) -> tuple[State, Effect]:
        operation = step.operation
        kernel = max(operation.kernel)
        jump = before.jump * operation.stride[0]
        if operation.transposed:
            jump = before.jump / operation.stride[0]
        jump /= operation.enlarged
        field = before.field + (kernel - 1) * operation.dilation * before.jump
        size, channels = before.size, before.channels
        if len(step.shape) == 4:
            size, channels = (step.shape[2], step.shape[3]), step.shape[1]
        elif operation.kind == "unfold":
            size = (size[0] // operation.stride[0], size[1] // operation.stride[1])
            channels = step.shape[1]
        state = replace(
            before,
            field=field,
            jump=jump,
            size=size,
            channels=channels,
            depth=before.depth + operation.weighted,
            pooled=before.pooled or before.places == 1,
        )
        mixing: Mixing | None = None
        if operation.spatial and not before.pooled:
            mixing = "conv" if operation.kind == "conv" and operation.learned else "pool"
        reduction = 1 if operation.transposed else operation.stride[0]
        return state, Effect(reduction, mixing, _word(operation) if reduction > 1 else "")

    def _reduced(self, operation: Operation, before: State) -> tuple[State, Effect]:
        if before.places > 1 and operation.reduced >= _NEARLY_ALL * before.places:
            return replace(before, field=math.inf, pooled=True, size=(1, 1)), Effect()
        if operation.kind == "global max" and operation.reduced == _SQUARE < before.places:
            # Tokens in an order in which the largest of four is that of a square (Hiera).
            return (
                replace(
                    before,
                    field=before.field + before.jump,
                    jump=2 * before.jump,
                    size=(before.size[0] // 2, before.size[1] // 2),
                ),
                Effect(2, "pool", "max"),
            )
        return before, Effect()

    def _mixed(self, step: Step, before: State) -> tuple[State, Effect]:
        operation = step.operation
        if operation.kind == "linear":
            return self._weighed_channels(step, before)
        if operation.kind == "softmax" and before.scores:
            return replace(before, scores=operation.contracted, weighed=True), Effect()
        if operation.kind == "product" and not before.scores:
            return replace(before, scores=operation.contracted), Effect()
        if operation.kind == "softmax":
            return before, Effect()
        return self._attended(operation, before)

    def _weighed_channels(self, step: Step, before: State) -> tuple[State, Effect]:
        state = replace(before, depth=before.depth + step.operation.weighted)
        if self._over_positions(step, before):
            return replace(state, field=math.inf), Effect(mixing="token mlp")
        return replace(state, channels=_channels(step)), Effect()

    def _attended(self, operation: Operation, before: State) -> tuple[State, Effect]:
        """After the second product, or a fused attention: positions are weighed by one another."""
        compared = max(operation.contracted, 0 if before.weighed else before.scores)
        after = replace(before, scores=0, weighed=False)
        if operation.rows == 1 and before.places > 1:  # one query: a weighted mean
            return replace(after, field=math.inf, pooled=True, size=(1, 1)), Effect(mixing="pool")
        if compared >= _NEARLY_ALL * before.places:
            return replace(after, field=math.inf), Effect(mixing="attention")
        wider = after.field + (math.sqrt(compared) - 1) * after.jump
        return replace(after, field=wider), Effect(mixing="attention")

    def _over_positions(self, step: Step, before: State) -> bool:
        """Whether a weight matrix works on positions instead of channels."""
        if before.pooled or before.places <= 1:
            return False
        shape = step.shapes[0]
        if step.operation.contracted != before.places or shape[-1] != before.places:
            return False
        return before.channels != before.places or self._was_transposed(step)

    def _was_transposed(self, step: Step) -> bool:
        number = step.inputs[0]
        for _ in range(3):  # a view and a copy may stand between
            maker = self._makers.get(number)
            if maker is None or maker.operation.kind != "shape":
                return False
            if maker.operation.name in ("transpose", "permute"):
                return True
            number = maker.inputs[0]
        return False

    def _strided_pick(self, step: Step, before: State) -> tuple[State, Effect]:
        """Slices come in pairs, one a side; rows count as the reduction, columns follow."""
        factor = step.operation.stride[0]
        sides = [
            (old, new)
            for old, new in zip(step.shapes[0], step.shape, strict=True)
            if old != new and new == -(-old // factor)
        ]
        if len(sides) != 1 or sides[0][0] not in before.size:
            return before, Effect()
        old, new = sides[0]
        height, width = before.size
        if height == old and height >= width:
            state = replace(before, jump=before.jump * factor, size=(new, width))
            return state, Effect(factor, None, "subsampling")
        return replace(before, size=(height, new)), Effect()

    def _reshaped(self, step: Step, before: State) -> tuple[State, Effect]:
        """Slices with a stride, and blocks of pixels that become channels."""
        operation, shape = step.operation, step.shape
        if operation.kind == "pick" and picks_token(step):
            return replace(before, pooled=True, size=(1, 1)), Effect()
        if operation.stride[0] > 1 and before.places > 1:
            return self._strided_pick(step, before)
        factor = _block(shape, before)
        if factor > 1:
            size = (before.size[0] // factor, before.size[1] // factor)
            state = replace(
                before,
                field=before.field + (factor - 1) * before.jump,
                jump=before.jump * factor,
                size=size,
                channels=before.channels * factor**2,
            )
            return state, Effect(factor, None, "space to depth")
        return before, Effect()


def _channels(step: Step) -> int:
    """Numbers a position after a matrix, or after a convolution along a sequence."""
    along = step.operation.name in ("convolution", "_convolution")
    return step.shape[1 if along else -1]


def picks_token(step: Step) -> bool:
    """Whether a class token, or two, are taken out of [1, N, C] or of its heads [1, H, N, C]."""
    before, after = step.shapes[0], step.shape
    if len(before) == 4 and len(after) == 4:
        kept = (before[0], before[1], before[3]) == (1, after[1], after[3])
        return kept and after[2] <= _TOKENS < before[2]
    if len(before) != 3 or not after:
        return False
    batch, places, channels = before
    taken = math.prod(after) // channels
    return batch == 1 and after[-1] == channels and taken <= _TOKENS < places


def _block(shape: tuple[int, ...], before: State) -> int:
    """Side of the square blocks that a new shape moves into channels; 1 where it moves none."""
    if before.places <= 1 or not shape or shape[0] != 1:
        return 1
    numbers = math.prod(shape)
    if numbers != before.places * before.channels:
        return 1
    for wide in _widths(shape):
        places = numbers // wide
        factor = math.isqrt(before.places // places) if places else 1
        if factor > 1 and factor**2 * places == before.places:
            fits = wide == before.channels * factor**2
            sides = (before.size[0] // factor, before.size[1] // factor)
            if fits and (len(shape) == 3 or sides in (shape[1:3], shape[2:4])):
                return factor
    return 1


def _widths(shape: tuple[int, ...]) -> Iterable[int]:
    """What may be the channels of a map or of tokens."""
    if len(shape) == 3:
        return (shape[2],)
    return (shape[1], shape[3]) if len(shape) == 4 else ()


def _word(operation: Operation) -> str:
    if operation.kind == "conv":
        if not operation.learned:
            return "blur"
        return "strided conv"
    if operation.kind == "unfold" and operation.kernel == operation.stride:
        return "space to depth"
    return operation.kind
