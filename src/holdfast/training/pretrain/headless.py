"""A network without its last layer: what self-supervised training trains."""

from __future__ import annotations

from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models.loading import head_layers


class Headless:
    """A network whose last linear layer is out of the way, in place.

    Attributes:
        net: The same object, giving features float [B, dimension] where it gave logits.
        dimension: Number of features.
        head: The layer taken out; nothing changes its weights.
        name: Where in the network it belongs, such as `classifier.1`.

    Raises:
        BadValueError: The network classifies with a convolution, with several layers, or is a
            single layer.
    """

    def __init__(self, net: nn.Module) -> None:
        name = _only_head(net)
        parent, _, leaf = name.rpartition(".")
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
        setattr(net.get_submodule(parent), leaf, nn.Identity())

    def whole_state(self, net: nn.Module) -> dict[str, Tensor]:
        """Weights by the names of the whole network: those of `net` and of the layer taken out.

        Args:
            net: The network, or an averaged twin of it.
        """
        own = {f"{self.name}.{key}": value for key, value in self.head.state_dict().items()}
        return {**net.state_dict(), **own}


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
