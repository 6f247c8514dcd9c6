"""What a change of a network is, and how a person names one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.core.registry import Registry
from holdfast.core.specs import canonical, parse_part
from holdfast.models.classifier import Classifier
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.sources import CHANGED


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
        """Why it does not apply to a classifier; empty where it does."""
        if not isinstance(classifier.net, nn.Module):
            return "it is a function, and a change needs a torch module"
        return self._refuses(classifier.net, classifier.preprocessing)

    def change(self, classifier: Classifier) -> Classifier:
        """A changed copy; the original stays as it was.

        Raises:
            BadValueError: It does not apply.
        """
        reason = self.applies(classifier)
        if reason:
            raise BadValueError(f"{self.spec} does not apply to {classifier.name}: {reason}")
        net, wanted = self._made(copy.deepcopy(_module(classifier)), classifier.preprocessing)
        card = replace(
            classifier.card,
            name=f"{classifier.name}{CHANGED}{self.spec}",
            preprocessing=wanted,
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


def _module(classifier: Classifier) -> nn.Module:
    net: Any = classifier.net
    return net
