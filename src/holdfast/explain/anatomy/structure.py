"""What a network is made of, read from the operations that run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from torch import nn

from holdfast.explain.anatomy._operations import activation_name
from holdfast.explain.anatomy._states import States, picks_token
from holdfast.explain.anatomy._ways import first_steps, main_way, shortcuts
from holdfast.explain.anatomy.graph import Graph, Step, trace

_POOLS = {"max": "max", "average": "average", "blur": "blur"}
_AVERAGING = ("average", "blur")
_NORM_WORDS = {
    "BatchNorm": "batch", "LayerNorm": "layer", "GroupNorm": "group", "RmsNorm": "rms",
    "RMSNorm": "rms", "InstanceNorm": "instance", "FilterResponseNorm": "filter response",
    "EvoNorm": "evonorm", "StdConv": "weight standardization", "Affine": "affine",
    "L2Norm": "l2", "SimpleNorm": "simple",
}  # fmt: skip
# What may stand between a pool and where it meets another one.
_AFTER_POOL = ("shape", "pick", "linear", "gate", "norm")
_CLASS_ACTIVATIONS = {"QuickGELU": "quickgelu", "StarReLU": "star relu", "SquaredReLU": "relu^2"}
_HYBRID = 0.3  # spatial convolutions a layer of attention, from which on a network is a hybrid
_FEW = 0.1  # layers of attention a spatial convolution, up to which it stays convolutional


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Columns of an anatomy that come from the graph.

    Attributes:
        kind: By what mixes positions after the stem. `attention` and `mlp`: attention, or weight
            matrices over positions; `hybrid`: attention beside at least 0.3 spatial convolutions a
            layer of it, those that cut patches (stride at least the kernel) not counted; else, or
            with at most one layer of attention in ten convolutions, `convolutional`. A pool with
            learned queries at the end counts as no attention.
        stem: Convolutions and pools from the image to the first fork (a residual block, branches)
            or convolution of groups; of a network without forks, the first convolution and a pool
            right after it.
        stem_kernel: Width of its first convolution, in pixels of that convolution's input.
        stem_stride: Of the same.
        stem_depth: Its convolutions.
        stem_reduction: Pixels between neighbours behind it.
        stem_effective_kernel: Receptive field behind it, pixels.
        stem_pool: The pool in it: none, max, average or blur.
        patch_size: Where a stem of one layer cuts the image into squares that do not overlap.
        overlapping: Whether its first convolution is wider than its stride.
        downsampling: Kind of each reduction on the way with most layers, the stem's too.
        shortcut_downsampling: Most frequent kind in the shortcuts of sums; none where they do not
            reduce.
        anti_aliased: Whether each reduction behind the first convolution averages or blurs.
        head_pool: What makes one vector of all positions, before the classifier.
        norms: Kinds of normalization layers that ran, the most frequent first.
        activation: The most frequent.
        depth: Convolutions and matrices with weights on the way with most of them; gates of
            squeeze-and-excitation are beside it. ResNet-50 has 50.
        width: Numbers that go into the classifier, or that come out where there is none.
        parameters: Learned numbers.
        multiply_adds: Of convolutions, matrices and attention, for one image.
        receptive_field: Pixels along a side that one feature before the head's pool sees, without
            the border; inf where attention or a mean over all positions lies before. A window of
            attention counts as a kernel of its width. A gate that is the same for all positions
            does not count.
        traced: meta, or hooks where it had to run for real.
        flags: What to doubt.
    """

    kind: str
    stem: str
    stem_kernel: int | None
    stem_stride: int | None
    stem_depth: int
    stem_reduction: int
    stem_effective_kernel: int | None
    stem_pool: str
    patch_size: int | None
    overlapping: bool | None
    downsampling: str
    shortcut_downsampling: str
    anti_aliased: bool | None
    head_pool: str
    norms: str
    activation: str | None
    depth: int
    width: int | None
    parameters: int
    multiply_adds: int
    receptive_field: float
    traced: str
    flags: tuple[str, ...] = ()


def structure(net: nn.Module, input_size: tuple[int, int, int]) -> Structure:
    """Read what a network is made of.

    Args:
        net: In evaluation mode; on the meta device, or with weights. Left as it was.
        input_size: Of one image: channels, height, width.

    Raises:
        BadValueError: It does not run on such an image.
    """
    graph = trace(net, input_size)
    states = States(graph)
    way = main_way(graph, states)
    stem = _stem_steps(graph)
    classifier = next((s for s in reversed(way) if s.operation.weighted), None)
    pool, features = _head(graph, states, way)
    reductions = _reductions(states, way)
    sides = [side for side in shortcuts(graph, states, way) if _is_map(states, side)]
    behind = stem[-1].outputs[0] if stem else 0
    seen = states.of[features]
    convs = [s for s in stem if s.operation.kind == "conv" and s.operation.learned]
    first = convs[0] if convs else None
    return Structure(
        kind=_kind(graph, states, stem),
        stem=_stem_words(stem, states),
        stem_kernel=max(first.operation.kernel) if first else None,
        stem_stride=first.operation.stride[0] if first else None,
        stem_depth=len(convs),
        stem_reduction=round(states.of[behind].jump),
        stem_effective_kernel=_whole(states.of[behind].field) if stem else None,
        stem_pool=_stem_pool(stem, states),
        patch_size=_patch(stem, states),
        overlapping=max(first.operation.kernel) > first.operation.stride[0] if first else None,
        downsampling=", ".join(kind for _, kind in reductions),
        shortcut_downsampling=_shortcut_kind(states, sides),
        anti_aliased=_anti_aliased(reductions, first),
        head_pool=pool,
        norms=_norms(graph),
        activation=_activation(graph),
        depth=states.of[graph.output].depth,
        width=_width(net, graph, classifier),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        multiply_adds=sum(step.operation.products for step in graph.steps),
        receptive_field=seen.field,
        traced=graph.traced,
        flags=graph.flags,
    )


def _reduces(states: States, step: Step) -> bool:
    effect = states.effects[step.place]
    # A stride over one pooled position reduces nothing.
    return effect.reduction > 1 and not states.of[step.inputs[0]].pooled


def _is_map(states: States, side: list[Step]) -> bool:
    """Whether a side of a sum has positions of its own: one number for all is no shortcut."""
    return bool(side) and not states.of[side[-1].outputs[0]].pooled


def _reductions(states: States, way: list[Step]) -> list[tuple[Step, str]]:
    """Steps that make the resolution lower than it was anywhere before, with their kinds."""
    found, lowest = [], 1.0
    for step in way:
        jump = states.of[step.outputs[0]].jump
        if _reduces(states, step) and jump > lowest:
            found.append((step, states.effects[step.place].kind))
        lowest = max(lowest, jump)
    return found


def _whole(field: float) -> int | None:
    return None if math.isinf(field) else round(field)


def _stem_steps(graph: Graph) -> list[Step]:
    """Steps of the stem up to its last convolution or pool."""
    steps, forked = first_steps(graph)
    kinds = [step.operation.kind for step in steps]
    if not forked:
        # No fork: the first layer with weights, and a pool that follows with no other between.
        first = next((i for i, s in enumerate(steps) if s.operation.weighted), None)
        if first is None:
            return []
        later = next((i for i in range(first + 1, len(steps)) if _works(steps[i])), None)
        pooled = later is not None and kinds[later] in ("max", "average")
        end = later if pooled and later is not None else first
        return steps[: end + 1]
    while steps and not _in_stem(steps):
        steps.pop()
    return steps


def _works(step: Step) -> bool:
    return step.operation.weighted or step.operation.kind in ("max", "average", "conv")


def _in_stem(steps: list[Step]) -> bool:
    """Whether the last of the steps belongs to a stem: no trailing 1 x 1 convolution does."""
    last = steps[-1].operation
    if last.kind in ("max", "average", "unfold"):
        return True
    convs = sum(step.operation.weighted for step in steps)
    if last.kind == "conv":
        return last.spatial or last.stride[0] > 1 or convs == 1
    # Patches that are cut by a view and embedded by a matrix.
    return last.kind == "linear" and last.weighted and convs == 1


def _stem_words(stem: list[Step], states: States) -> str:
    words = []
    for step in stem:
        operation, kind = step.operation, step.operation.kind
        reduction = states.effects[step.place]
        over = f"/{operation.stride[0]}" if operation.stride[0] > 1 else ""
        window = f"{operation.kernel[0]}x{operation.kernel[1]}{over}"
        if kind == "conv":
            words.append(f"{'conv' if operation.learned else 'blur'} {window}")
        elif kind in ("max", "average", "unfold"):
            words.append(f"{kind} {window}")
        elif reduction.kind == "space to depth":
            words.append(f"space to depth {reduction.reduction}")
        elif kind == "linear" and operation.weighted:
            words.append("linear")
    return ", ".join(words)


def _stem_pool(stem: list[Step], states: States) -> str:
    found = [states.effects[step.place].kind for step in stem if _reduces(states, step)]
    # Blurred max pooling is a max of stride 1 before a blur.
    pools = [word for word in found if word in _POOLS]
    return pools[-1] if pools else "none"


def _patch(stem: list[Step], states: States) -> int | None:
    work = [s for s in stem if _works(s) or states.effects[s.place].reduction > 1]
    weighted = [s for s in work if s.operation.weighted]
    if len(weighted) != 1 or len(work) > 2:
        return None
    last = weighted[0].operation
    if last.kind == "conv" and len(work) == 1:
        square = last.kernel[0] == last.stride[0] and last.kernel[0] == last.kernel[1]
        return last.kernel[0] if square and last.kernel[0] > 1 else None
    other = next((s for s in work if s is not weighted[0]), None)
    if last.kind == "linear" and other is not None:
        return states.effects[other.place].reduction
    return None


def _kind(graph: Graph, states: States, stem: list[Step]) -> str:
    beyond = {step.place for step in stem}
    counts: Counter[str] = Counter()
    for step in graph.steps:
        effect = states.effects[step.place]
        if effect.mixing is None or step.place in beyond:
            continue
        pooling = "Attention" in step.layer and "Pool" in step.layer
        if effect.mixing == "attention" and pooling:
            continue
        operation = step.operation
        if effect.mixing == "conv" and max(operation.kernel) <= max(operation.stride):
            continue  # it cuts patches: no position sees its neighbours'
        counts[effect.mixing] += 1
    attention, convs, mlps = counts["attention"], counts["conv"], counts["token mlp"]
    if attention and convs < _HYBRID * attention:
        return "attention"
    if attention and attention > _FEW * convs:
        return "hybrid"
    if mlps and convs < _HYBRID * mlps:
        return "mlp"
    windows = any(step.operation.spatial for step in graph.steps)
    return "convolutional" if windows else "mlp"


def _shortcut_kind(states: States, sides: list[list[Step]]) -> str:
    kinds = Counter(
        states.effects[step.place].kind for side in sides for step in side if _reduces(states, step)
    )
    return kinds.most_common(1)[0][0] if kinds else "none"


def _anti_aliased(reductions: list[tuple[Step, str]], first: Step | None) -> bool | None:
    behind = -1 if first is None else first.place
    later = [kind for step, kind in reductions if step.place > behind]
    return all(kind in _AVERAGING for kind in later) if later else None


def _head(graph: Graph, states: States, way: list[Step]) -> tuple[str, int]:
    """What pools positions before the classifier, and the tensor that it pools."""
    attends = any("Attention" in step.layer and "Pool" in step.layer for step in way)
    for step in reversed(way):
        operation, before = step.operation, step.inputs[0]
        if all(states.of[number].pooled for number in step.inputs):
            several = _several(graph, step)
            if several is not None:
                return "other", several
            continue
        word = _pooling(graph, states, step)
        if word == "token" and attends:
            word = "attention"
        if word:
            return word, before
        if operation.kind == "conv" or states.effects[step.place].mixing is not None:
            return "none", step.outputs[0]
    return "none", graph.output


def _pooling(graph: Graph, states: States, step: Step) -> str:
    """How a step makes one position of all; empty where it does not."""
    kind, pooled = step.operation.kind, states.of[step.outputs[0]].pooled
    if kind in ("global average", "global max") and pooled:
        return kind.removeprefix("global ")
    if states.effects[step.place].mixing == "pool" and pooled:
        return "attention"
    return "token" if kind == "pick" and picks_token(step) else ""


def _several(graph: Graph, step: Step) -> int | None:
    """What is pooled in two ways that a sum or a join brings together; None where it is not."""
    if step.operation.kind not in ("sum", "join") or len(step.inputs) < 2:
        return None
    makers = graph.makers()
    pools = [pool for pool in (_pool_behind(makers, n) for n in step.inputs) if pool is not None]
    words = {"token" if pool.operation.kind == "pick" else pool.operation.kind for pool in pools}
    return pools[0].inputs[0] if len(words) > 1 else None


def _pool_behind(makers: dict[int, Step], number: int) -> Step | None:
    while number in makers:
        step = makers[number]
        kind = step.operation.kind
        if kind.startswith("global") or (kind == "pick" and picks_token(step)):
            return step
        if kind not in _AFTER_POOL:
            return None
        number = step.inputs[0]
    return None


def _norms(graph: Graph) -> str:
    counts: Counter[str] = Counter()
    for layer in graph.layers:
        word = next((word for part, word in _NORM_WORDS.items() if part in layer), None)
        if word is not None:
            counts[word] += 1
    return ", ".join(word for word, _ in counts.most_common()) or "none"


def _activation(graph: Graph) -> str | None:
    counts: Counter[str] = Counter()
    for layer in graph.layers:
        if layer in _CLASS_ACTIVATIONS:
            counts[_CLASS_ACTIVATIONS[layer]] += 1
    for step in graph.steps:
        word = activation_name(step.operation.name)
        if word is not None:
            counts[word] += 1
    return counts.most_common(1)[0][0] if counts else None


def _width(net: nn.Module, graph: Graph, classifier: Step | None) -> int | None:
    if classifier is None:
        return None
    if getattr(net, "num_classes", None) == 0:  # timm's way to say that there is no classifier
        return next((s.shape[-1] for s in graph.steps if graph.output in s.outputs), None)
    if classifier.operation.kind == "conv":
        return classifier.shapes[0][1]
    return classifier.operation.contracted or classifier.shapes[0][-1]
