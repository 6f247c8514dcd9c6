"""How well a vision model holds under noise, corruption and attack; why; what holds better."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.core.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from holdfast.data import open_dataset as load_data
    from holdfast.measuring import Results, measure
    from holdfast.models import Classifier, load_model
    from holdfast.perturb.attacks.craft import attack, craft
    from holdfast.perturb.corrupt import corrupt
    from holdfast.records import Store
    from holdfast.training import Recipe
    from holdfast.training.api import Trained, train

__all__ = [
    "Classifier",
    "Recipe",
    "Results",
    "Store",
    "Trained",
    "attack",
    "corrupt",
    "craft",
    "load_data",
    "load_model",
    "measure",
    "train",
]

# Torch takes seconds to import; `holdfast --help` and the report do without it.
_WHERE = {
    "Classifier": ("holdfast.models", "Classifier"),
    "Recipe": ("holdfast.training", "Recipe"),
    "Results": ("holdfast.measuring.api", "Results"),
    "Store": ("holdfast.records", "Store"),
    "Trained": ("holdfast.training.api", "Trained"),
    "attack": ("holdfast.perturb.attacks.craft", "attack"),
    "corrupt": ("holdfast.perturb.corrupt", "corrupt"),
    "craft": ("holdfast.perturb.attacks.craft", "craft"),
    "load_data": ("holdfast.data", "open_dataset"),
    "load_model": ("holdfast.models", "load_model"),
    "measure": ("holdfast.measuring.api", "measure"),
    "train": ("holdfast.training.api", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
