"""What is measured: classifiers, where they come from, and their weights."""

from holdfast.models.classifier import Card, Classifier
from holdfast.models.fast import search_copy
from holdfast.models.loading import head_layers, load_weights
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.small import SmallCNN, small_cnn
from holdfast.models.sources import known_models, load_model, model_names
from holdfast.models.weights import digest_state, read_weights

__all__ = [
    "Card",
    "Classifier",
    "Preprocessing",
    "SmallCNN",
    "digest_state",
    "head_layers",
    "known_models",
    "load_model",
    "load_weights",
    "model_names",
    "read_weights",
    "search_copy",
    "small_cnn",
]
