"""What a preset is: published settings by name, where they come from, and in what they differ.

A preset is a whole recipe: data and network are an example, to be replaced on the command line
(`data.name=folder:photos model.name=timm:resnet50`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from holdfast.core.registry import Registry

Body = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A recipe with a name.

    Attributes:
        name: What people type.
        about: One line.
        source: Where the settings are published, and how this differs.
        sections: As in a YAML file; `body` gives a copy.
    """

    name: str
    about: str
    source: str
    sections: Mapping[str, Any]

    @property
    def body(self) -> Body:
        """Sections, free to be changed."""
        return deepcopy(dict(self.sections))


PRESETS: Registry[Preset] = Registry("preset")


def preset(name: str) -> Preset:
    """Preset of that name.

    Raises:
        UnknownNameError: There is none; the message names near ones.
    """
    return PRESETS[name]


def keep(name: str, about: str, source: str, *layers: Body) -> None:
    """Register a preset of sections in layers: later fields win."""
    body: Body = {}
    for layer in layers:
        for key, value in layer.items():
            merged = {**body[key], **value} if isinstance(body.get(key), dict) else value
            body[key] = merged
    PRESETS.register(name)(Preset(name, about, source, body))


CELL = (
    "nb201:|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
# In pixels of [0, 1]; the customary statistics of the training set.
CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
