"""Copies of classifiers that search adversarial images faster.

An attack calls a network many thousand times in evaluation mode, and takes gradients with respect
to images alone. A copy that knows this costs less per call and differs by rounding only, so
what is found on it must be confirmed by the original.

What pays was measured (`benchmarks/evaluation_speed.py`) and is decided by rules, not by a clock:
the same network becomes the same copy in every process, so that an interrupted search goes on
with the same numbers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.models._conv_gradients import adopt
from holdfast.models._folding import fold
from holdfast.models.classifier import FOREIGN_ERRORS, Classifier

Precision = Literal["float32", "bfloat16", "float16"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SIZES = ((32, 32), (224, 224), (28, 28), (64, 64), (8, 8))  # tried where any size is said
_PROBED = 2  # images of a check
# Rounding moves logits by about 1e-6 of the largest; a wrong fold by far more.
_LOGIT_TOLERANCE = 1e-4
# Of the gradient's length: a ReLU whose input is within rounding of zero may switch.
_GRADIENT_TOLERANCE = 1e-2
# Input channels from which a convolution of stride 1 gains more by channels-last than the
# flattening of its result loses.
_WIDE = 16


@dataclass(frozen=True)
class SearchCopy:
    """A classifier to search on, and how it came about.

    Attributes:
        classifier: Where nothing could be done, the original itself.
        changes: What was done, one sentence each.
        problems: What was asked for or tried and could not be done, one sentence each.
    """

    classifier: Classifier
    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Logits [B, K] of a check, and the gradient of a mixture of them."""

    logits: Tensor
    gradient: Tensor | None

    def agrees(self, truth: Answer) -> bool:
        """Whether both are those of `truth` up to rounding; never where they are not finite."""
        scale = truth.logits.abs().max()
        near = bool((self.logits - truth.logits).abs().max() <= _LOGIT_TOLERANCE * scale)
        if self.gradient is None or truth.gradient is None:
            return near and self.gradient is truth.gradient
        off = (self.gradient - truth.gradient).norm()
        return near and bool(off <= _GRADIENT_TOLERANCE * truth.gradient.norm())


def search_copy(
    classifier: Classifier, *, precision: Precision = "float32", compile_net: bool = False
) -> Classifier:
    """Copy a classifier for searching: same logits and input gradients, up to rounding.

    The copy's weights are frozen. BatchNorm is folded into the layers before it; on a CPU,
    networks with wide convolutions of stride 1 become channels-last, and first layers and
    depthwise convolutions get a cheaper gradient. The copy is checked against the original
    on two noise images, and a step that changes its answers is left out. The original is not
    touched; the copy keeps its classes, preprocessing and device. A callable that is no module
    is returned as it is. The copy's digest is not the original's: do not record it.

    Flags of the copy: `not_compiled` and `not_reduced`, where that was asked for and failed.

    Args:
        classifier: Not changed.
        precision: Other than float32, the copy runs under autocast; its logits are float32 and
            off by 1e-2 or so.
        compile_net: Use `torch.compile`, which takes a compiler and a minute or more.

    Raises:
        BadValueError: No such precision, or the original fails its probe.
    """
    return described_copy(classifier, precision=precision, compile_net=compile_net).classifier


def described_copy(
    classifier: Classifier, *, precision: Precision = "float32", compile_net: bool = False
) -> SearchCopy:
    """Do what `search_copy` does, and say what was done and what was not."""
    if precision not in _DTYPES:
        raise BadValueError(f"precision must be one of {', '.join(_DTYPES)}, got {precision!r}")
    if not isinstance(classifier.net, nn.Module):
        return SearchCopy(classifier, problems=("a callable that is no module is not copied",))
    _ = classifier.classes  # learned before the copy is made, so that both know it
    with torch.inference_mode(False), torch.enable_grad():
        try:
            plain = _frozen(classifier)
        except FOREIGN_ERRORS as error:
            return SearchCopy(classifier, problems=(f"the network cannot be copied: {error}",))
        return _sped_up(plain, precision, compile_net=compile_net)


def _frozen(classifier: Classifier) -> Classifier:
    net = copy.deepcopy(_module(classifier))
    if net.training:
        net.eval()
    return with_net(classifier, net.requires_grad_(False))


def _module(classifier: Classifier) -> nn.Module:
    return cast("nn.Module", classifier.net)


def with_net(classifier: Classifier, net: nn.Module) -> Classifier:
    """The same classifier around another network."""
    # Not by its constructor, which would switch the modes of single layers.
    twin = copy.copy(classifier)
    twin.net = net
    return twin


def _sped_up(plain: Classifier, precision: Precision, *, compile_net: bool) -> SearchCopy:
    try:
        images = probe_images(plain)
        truth = answer(plain, images)
    except FOREIGN_ERRORS as error:
        return SearchCopy(plain, problems=(f"the copy cannot be checked: {error}",))
    result = _rewritten(plain, images, truth, exact=precision == "float32")
    if precision != "float32":
        result = _reduced(result, precision, images)
    return _compiled(result, images) if compile_net else result


def _rewritten(plain: Classifier, images: Tensor, truth: Answer, *, exact: bool) -> SearchCopy:
    """Rewrite as much of the network as leaves the answers what they are."""
    problems: list[str] = []
    wide = plain.device.type == "cpu" and is_wide(_module(plain))
    for folding, channels_last in dict.fromkeys([(True, wide), (True, False), (False, False)]):
        twin = with_net(plain, copy.deepcopy(_module(plain)))
        changes: tuple[str, ...] = ()
        try:
            changes = _rewrite(twin, images, (folding, channels_last, exact))
            if not changes or answer(twin, images).agrees(truth):
                return SearchCopy(twin, changes, tuple(problems))
            reason = "the answers are not the original's"
        except FOREIGN_ERRORS as error:
            reason = f"{type(error).__name__}: {error}"
        problems.append(f"undone ({', '.join(changes) or 'not finished'}): {reason}")
    return SearchCopy(plain, problems=tuple(problems))


def _rewrite(twin: Classifier, images: Tensor, way: tuple[bool, bool, bool]) -> tuple[str, ...]:
    folding, channels_last, exact = way
    net = _module(twin)
    changes = []
    if folding and (count := fold(net, lambda: twin(images.requires_grad_(True)))):
        changes.append(f"{count} BatchNorm folded")
    if channels_last:
        net.to(memory_format=torch.channels_last)
        changes.append("channels-last")
    if exact and twin.device.type == "cpu" and (count := adopt(net, channels_last=channels_last)):
        changes.append(f"{count} convolutions with a cheaper input gradient")
    return tuple(changes)


def is_wide(net: nn.Module) -> bool:
    """Whether channels-last pays on a CPU."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return any(
        layer.in_channels >= _WIDE and max(layer.kernel_size) > 1 and layer.stride == (1, 1)
        for layer in layers
    )


class _Autocast(nn.Module):
    """A network under autocast; the classifier around it gives float32 logits."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype
        self.training = net.training

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, self.dtype):
            logits: Tensor = self.net(images)
        return logits


def _reduced(result: SearchCopy, precision: Precision, images: Tensor) -> SearchCopy:
    net = _Autocast(_module(result.classifier), _DTYPES[precision])
    twin = with_net(result.classifier, net)
    try:
        finite = bool(answer(twin, images).logits.isfinite().all())
        reason = "" if finite else "logits are not finite"
    except FOREIGN_ERRORS as error:
        reason = f"{type(error).__name__}: {error}"
    if reason:
        result.classifier.flags |= {"not_reduced"}
    return _with_step(result, twin, precision, reason)


def _compiled(result: SearchCopy, images: Tensor) -> SearchCopy:
    try:
        net = torch.compile(_module(result.classifier))
        twin = with_net(result.classifier, cast("nn.Module", net))
        truth = answer(result.classifier, images)
        # A second size, so that the one that is compiled now takes any.
        answer(twin, images[:1])
        agrees = answer(twin, images).agrees(truth)
        reason = "" if agrees else "the answers are not the original's"
    except FOREIGN_ERRORS as error:
        twin, reason = result.classifier, f"{type(error).__name__}: {error}"
    if reason:
        result.classifier.flags |= {"not_compiled"}
    return _with_step(result, twin, "compiled", reason)


def _with_step(result: SearchCopy, twin: Classifier, step: str, reason: str) -> SearchCopy:
    if reason:
        return replace(result, problems=(*result.problems, f"undone ({step}): {reason}"))
    return SearchCopy(twin, (*result.changes, step), result.problems)


def answer(classifier: Classifier, images: Tensor) -> Answer:
    """What the classifier says, and how it changes with the images."""
    images = images.detach().clone().requires_grad_(True)
    logits = classifier(images)
    if not logits.requires_grad:
        return Answer(logits, None)
    weights = torch.linspace(-1, 1, logits.shape[1], device=logits.device)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), images, allow_unused=True)
    return Answer(logits.detach(), gradient)


def probe_images(classifier: Classifier) -> Tensor:
    """Noise of the size that the network takes, or of the first that it accepts."""
    keys = keys_for(torch.arange(_PROBED), seed=0, stream="search_copy")
    channels = classifier.preprocessing.channels
    failures: list[BaseException] = []
    for size in [classifier.input_size] if classifier.input_size else _SIZES:
        images = keys.uniform(channels, *size).float().to(classifier.device)
        try:
            with torch.no_grad():
                classifier(images)
        except FOREIGN_ERRORS as error:
            failures.append(error)
        else:
            return images
    raise failures[0]
