"""A network without its last layer: what self-supervised training trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models.loading import head_layers


class Headless:
    """A network whose last linear layer is out of the way, in place, until `restore`.

    Attributes:
        net: The same object, giving features float [B, dimension] where it gave logits.
        dimension: Number of features.
        head: The layer taken out; nothing changes its weights.
        name: Where in the network it belongs, such as `classifier.1`.
        name: Of the layer in the network.

    Raises:
        BadValueError: The network classifies with a convolution, with several layers, or is a
            single layer.
    """

    def __init__(self, net: nn.Module) -> None:
        self.name = name = _only_head(net)
        parent, _, self._leaf = name.rpartition(".")
        head = net.get_submodule(name)
        if not isinstance(head, nn.Linear):
            raise BadValueError(
                f"{type(net).__name__} ends in a {type(head).__name__} ({name}), and features are "
                "taken from before a linear layer; choose a network that ends in nn.Linear"
            )
        self.net = net
        self.head = head
        self.name = name
        self.dimension = head.in_features
        self._parent = net.get_submodule(parent)
        setattr(self._parent, self._leaf, nn.Identity())

    def restore(self) -> nn.Module:
        """Put the layer back, on the network's device and in its mode; again does nothing."""
        placed = next(self.net.parameters(), None)
        if placed is not None:
            self.head.to(placed.device)
        self.head.train(self.net.training)
        setattr(self._parent, self._leaf, self.head)
        return self.net


@contextmanager
def without_head(net: nn.Module) -> Iterator[Headless]:
    """Take the last linear layer out, and put it back whatever happens."""
    headless = Headless(net)
    try:
        yield headless
    finally:
        headless.restore()


def _only_head(net: nn.Module) -> str:
    names = head_layers(net)
    if len(names) == 1 and names[0]:
        return names[0]
    if len(names) > 1:
        raise BadValueError(
            f"{type(net).__name__} has {len(names)} last layers ({', '.join(names)}), and features "
            "are taken from before a single one; choose another network"
        )
    raise BadValueError(
        f"{type(net).__name__} has no layers before the last one, so it has no features to learn; "
        "choose a network with a backbone"
    )
