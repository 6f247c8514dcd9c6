"""What a change of a network is, and how a person names one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.core.randomness import keys_for
from holdfast.core.registry import Registry
from holdfast.core.specs import canonical, parse_part
from holdfast.models.classifier import FOREIGN_ERRORS, Classifier
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.sources import CHANGED

_SIZE = (64, 64)  # of the check where a network takes any
_SAME = {torch.float16: 2e-2, torch.bfloat16: 1e-1}  # of the largest logit; else 1e-3


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change; a frozen dataclass that says whether it applies, and makes it.

    Attributes:
        name: What people type; the registry sets it.
        about: One line on what it does.
        keeps: Whether the network's function stays what it was, so that nothing is gained
            before it is trained on.
    """

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""

    @property
    def spec(self) -> str:
        """Canonical text, such as `low_pass(std=0.5)`."""
        return canonical(self.name, self)

    @property
    def keeps(self) -> bool:
        """Whether the function stays the same."""
        return False

    def applies(self, classifier: Classifier) -> str:
        """Why it does not apply to a classifier; empty where it does.

        One that should keep the function is tried: a network may do something of its own to its
        pixels before the first convolution.
        """
        if not isinstance(classifier.net, nn.Module):
            return "it is a function, and a change needs a torch module"
        reason = self._refuses(classifier.net, classifier.preprocessing)
        if reason or not self.keeps:
            return reason
        return _moved(classifier, self._changed(classifier))

    def change(self, classifier: Classifier) -> Classifier:
        """A changed copy; the original stays as it was.

        Raises:
            BadValueError: It does not apply, or the network breaks under it.
        """
        reason = self.applies(classifier)
        if reason:
            raise BadValueError(f"{self.spec} does not apply to {classifier.name}: {reason}")
        return self._changed(classifier)

    def remake(self, classifier: Classifier) -> Classifier:
        """The same layers once more, for weights that a changed network was trained to.

        Nothing is refused or tried: the weights decide what the function is.
        """
        return self._changed(classifier)

    def _changed(self, classifier: Classifier) -> Classifier:
        try:
            copied = copy.deepcopy(_module(classifier))
            owners, whole = _owners(copied), set(copied.state_dict())
            net, wanted = self._made(copied, classifier.preprocessing)
        except HoldfastError:
            raise
        except FOREIGN_ERRORS as error:
            raise BadValueError(
                f"{self.spec} cannot be made of {classifier.name}: {_said(error)}"
            ) from error
        card = replace(
            classifier.card,
            name=f"{classifier.name}{CHANGED}{self.spec}",
            preprocessing=wanted,
            fresh_keys=tuple(net.state_dict())
            if set(classifier.fresh_keys) == whole
            else _fresh(classifier.fresh_keys, owners, net),
            identity=f"{classifier.card.identity}{CHANGED}{self.spec}"
            if classifier.card.identity
            else "",
        )
        return Classifier(net, card, classifier.device).probe()

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        """As `applies`, for modules."""
        raise NotImplementedError

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        """The network, changed in place or wrapped, with its preprocessing."""
        raise NotImplementedError


CHANGES: Registry[type[Change]] = Registry("change")


def parse_changes(texts: Sequence[str]) -> list[Change]:
    """The changes that texts name, in their order.

    Raises:
        UnknownNameError: No such change or setting.
        BadValueError: A setting that it refuses.
    """
    return [parse_part(CHANGES, text) for text in texts]


def _moved(before: Classifier, after: Classifier) -> str:
    """Why logits of a network that should be the same are not; empty where they are."""
    keys = keys_for(torch.arange(2), seed=0, stream="surgery")
    size = before.input_size or _SIZE
    images = keys.uniform(before.preprocessing.channels, *size).float()
    with torch.no_grad():
        try:
            old = before(images)
        except FOREIGN_ERRORS:  # it takes any size but this one
            return ""
        new = after(images)
    if not bool(old.isfinite().all()):
        return ""
    kinds = {part.dtype for part in _module(before).parameters()}
    allowed = max([1e-3, *(_SAME.get(kind, 0.0) for kind in kinds)]) * float(old.abs().max())
    moved = float((new - old).abs().max())
    if moved <= allowed:
        return ""
    return (
        "it scales its pixels or computes its weights inside of itself, so that the change cannot "
        f"be undone exactly (logits move by {moved:.2g})"
    )


def _owners(net: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Key of a weight -> the module that has it, and the name that it has there."""
    owners: dict[str, tuple[nn.Module, str]] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        owners |= {f"{name}.{leaf}" if name else leaf: (module, leaf) for leaf, _ in own}
    return owners


def _fresh(
    keys: Sequence[str], before: dict[str, tuple[nn.Module, str]], net: nn.Module
) -> tuple[str, ...]:
    """Keys of weights that no file gave: layers have other names behind a filter."""
    fresh = {before[key] for key in keys if key in before}
    return tuple(key for key, owner in _owners(net).items() if owner in fresh)


def _said(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _module(classifier: Classifier) -> nn.Module:
    net: Any = classifier.net
    return net
