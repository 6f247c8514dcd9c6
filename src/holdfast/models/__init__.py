"""What is measured: classifiers, where they come from, and their weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.models.backbones import BACKBONES, Backbone, backbone
    from holdfast.models.classifier import Card, Classifier
    from holdfast.models.fast import search_copy
    from holdfast.models.loading import head_layers, load_weights
    from holdfast.models.open_clip_source import zero_shot
    from holdfast.models.preprocessing import Preprocessing
    from holdfast.models.small import SmallCNN, small_cnn
    from holdfast.models.sources import known_models, load_model, model_names
    from holdfast.models.weights import digest_state, read_weights

__all__ = [
    "BACKBONES",
    "Backbone",
    "Card",
    "Classifier",
    "Preprocessing",
    "SmallCNN",
    "backbone",
    "digest_state",
    "head_layers",
    "known_models",
    "load_model",
    "load_weights",
    "model_names",
    "read_weights",
    "search_copy",
    "small_cnn",
    "zero_shot",
]

# Search spaces read the texts of cells here, and need no torch.
_WHERE = {
    "BACKBONES": "backbones",
    "Backbone": "backbones",
    "Card": "classifier",
    "Classifier": "classifier",
    "Preprocessing": "preprocessing",
    "SmallCNN": "small",
    "backbone": "backbones",
    "digest_state": "weights",
    "head_layers": "loading",
    "known_models": "sources",
    "load_model": "sources",
    "load_weights": "loading",
    "model_names": "sources",
    "read_weights": "weights",
    "search_copy": "fast",
    "small_cnn": "small",
    "zero_shot": "open_clip_source",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
