"""A fast twin of a network in training, in evaluation mode, to craft adversarial images on.

The inner attack of adversarial training calls the network many times between two steps of the
optimizer, and takes gradients with respect to images alone. `fast.search_copy` serves a network
whose weights stay; here they change at every step, so what was found out about the network once
(what can be folded, what layout pays, that the answers agree) is kept, and only numbers are
written anew.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.models._conv_gradients import DepthwiseConv2d, ImageConv2d, adopt
from holdfast.models._folding import drop, foldable, folded
from holdfast.models._modes import evaluating
from holdfast.models.classifier import FOREIGN_ERRORS, Classifier
from holdfast.models.fast import Answer, answer, is_wide, probe_images, with_net

_KEPT = 31 << 20  # bytes of a block that glibc keeps, once told to
_TENSOR_CORES = (8, 0)  # capability from which float32 convolutions run on them, as TF32


@dataclass
class _Twin:
    """A rewritten copy, and where its numbers come from.

    Attributes:
        classifier: Frozen, in evaluation mode.
        folded: Layer and BatchNorm of the live network, and the twin's layer that does both.
        copied: Module of the live network, the twin's, and the name of a tensor of both.
        tuned: Layers that keep something made of their weights.
        changes: What was done, one sentence each.
        largest: Bytes of the largest result of a convolution, per pixel of an image.
    """

    classifier: Classifier
    folded: list[tuple[Any, Any, Any]] = field(default_factory=list)
    copied: list[tuple[nn.Module, nn.Module, str]] = field(default_factory=list)
    tuned: list[ImageConv2d | DepthwiseConv2d] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    largest: float = 0.0

    def refresh(self) -> None:
        """Write the live network's present numbers."""
        for layer, norm, both in self.folded:
            weight, bias = folded(layer, norm)
            both.weight.copy_(weight)
            both.bias.copy_(bias)
        for live, twin, name in self.copied:
            getattr(twin, name).copy_(getattr(live, name))
        for convolution in self.tuned:
            convolution.retune()


class CraftingCopy:
    """A classifier in training as an attack sees it: in evaluation mode, and faster.

    Callable on float images [B, C, H, W] in [0, 1]; gives float32 logits [B, K]: those of the
    live network in evaluation mode as it was at the last `refresh`, and the same gradients with
    respect to the images, up to rounding. No gradient reaches the live network's parameters, its
    mode is not touched, and BatchNorm's running statistics are read, not written.

    BatchNorm is folded into the layer before it; networks with wide convolutions become
    channels-last; first layers and depthwise convolutions get a cheaper gradient on a CPU. The
    rewritten network is checked once, on two noise images, against the network as it was. Where
    there is nothing to gain, where the answers differ or where the network cannot be copied, the
    live network itself is called, in evaluation mode for as long as the call lasts; `refresh` then
    has nothing to do. It takes as much memory again as the weights.

    What is found out at the beginning is not found out again: make another copy after a change
    of the network's layers.

    Attributes:
        changes: What was done, one sentence each; empty where the live network is called.
        problems: What was tried and could not be done, one sentence each.

    Args:
        classifier: The one in training; not changed.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._live = classifier
        self.changes: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        self._twin: _Twin | None = None
        self._build()

    def __call__(self, images: Tensor) -> Tensor:
        """Logits, float32 [B, K].

        Raises:
            BadTypeError: Not float images.
            BadValueError: Not [B, 1 or 3, H, W], or the network does not give logits [B, K].
        """
        if self._twin is not None:
            return self._twin.classifier(images)
        if not isinstance(self._live.net, nn.Module):
            return self._live(images)
        with evaluating(self._live.net):
            return self._live.forward(images)

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return self._live.classes

    def fast_rows(self, images: Tensor) -> int:
        """How many images [B, C, H, W] to pass at a time, at least 1: a large batch in parts.

        On a CPU the largest intermediate result is to stay below the size from which the C
        library hands memory back to the system, which makes every page of it fault anew.
        """
        if self._twin is None or self._live.device.type != "cpu":
            return max(1, len(images))
        size = self._live.input_size or images.shape[2:]
        return max(1, int(_KEPT / max(1.0, self._twin.largest * size[0] * size[1])))

    def refresh(self) -> None:
        """Take over the live network's present weights and statistics: after each step."""
        if self._twin is None:
            return
        if self._twin.classifier.device != self._live.device:
            self._build()
            return
        with torch.no_grad():
            self._twin.refresh()

    def _build(self) -> None:
        net, self._twin = self._live.net, None
        if not isinstance(net, nn.Module):
            self.problems = ("a callable that is no module is not copied",)
            return
        problems: list[str] = []
        with torch.inference_mode(False), torch.enable_grad():
            try:
                plain = with_net(self._live, copy.deepcopy(net).eval().requires_grad_(False))
                images = probe_images(plain)
                self._twin = _first_right(self._live, images, answer(plain, images), problems)
            except FOREIGN_ERRORS as error:
                problems.append(f"the network cannot be copied: {error}")
        self.changes = () if self._twin is None else tuple(self._twin.changes)
        self.problems = tuple(problems)


def _first_right(
    live: Classifier, images: Tensor, truth: Answer, problems: list[str]
) -> _Twin | None:
    """The twin with the most rewritten that leaves the answers what they are."""
    wide = is_wide(_module(live)) and _pays(live.device)
    for channels_last in dict.fromkeys([wide, False]):
        try:
            twin = _rewritten(live, images, channels_last=channels_last)
            if not twin.changes:
                return None
            if answer(twin.classifier, images).agrees(truth):
                return twin
            reason = "the answers are not the original's"
        except FOREIGN_ERRORS as error:
            reason = f"{type(error).__name__}: {error}"
        problems.append(f"undone ({'channels-last' if channels_last else 'contiguous'}): {reason}")
    return None


def _pays(device: torch.device) -> bool:
    """Whether channels-last does."""
    if device.type != "cuda":
        return device.type == "cpu"
    fast = torch.backends.cudnn.allow_tf32 or torch.is_autocast_enabled("cuda")
    return fast and torch.cuda.get_device_capability(device) >= _TENSOR_CORES


def _rewritten(live: Classifier, images: Tensor, *, channels_last: bool) -> _Twin:
    memo: dict[int, Any] = {}
    net = copy.deepcopy(_module(live), memo).eval().requires_grad_(False)
    twin = _Twin(with_net(live, net))
    twin.largest = _largest(twin.classifier, images)
    originals = {memo[id(module)]: module for module in _module(live).modules()}
    for layer, norm in foldable(net, lambda: twin.classifier(images.requires_grad_(True))):
        twin.folded.append((originals.pop(layer), originals.pop(norm), layer))
        # Parameters of its own, as a layer elsewhere may share the old ones.
        layer.weight, layer.bias = (
            nn.Parameter(part, requires_grad=False) for part in folded(layer, norm)
        )
        drop(net, norm)
    if twin.folded:
        twin.changes.append(f"{len(twin.folded)} BatchNorm folded")
    for module, original in originals.items():
        names = [name for name, _ in original.named_parameters(recurse=False)]
        names += [name for name, _ in original.named_buffers(recurse=False)]
        twin.copied += [(original, module, name) for name in names]
    if channels_last:
        net.to(memory_format=torch.channels_last)
        twin.changes.append("channels-last")
    if live.device.type == "cpu" and (count := adopt(net, channels_last=channels_last)):
        kinds = (ImageConv2d, DepthwiseConv2d)
        twin.tuned = [layer for layer in net.modules() if isinstance(layer, kinds)]
        twin.changes.append(f"{count} convolutions with a cheaper input gradient")
    return twin


def _largest(classifier: Classifier, images: Tensor) -> float:
    """Bytes of the largest result of a convolution, per pixel of an image."""
    sizes = [0]

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        sizes.append(output[0].numel() * output.element_size())

    net = _module(classifier)
    kinds = (nn.Conv2d, nn.Linear)
    hooks = [m.register_forward_hook(look) for m in net.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            classifier(images)
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes) / images[0, 0].numel()


def _module(classifier: Classifier) -> nn.Module:
    assert isinstance(classifier.net, nn.Module)  # noqa: S101 - `_build` looked
    return classifier.net
