"""`torchvision:NAME`: classification networks of torchvision with their weights' transforms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum, get_model, get_model_weights, list_models

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.models import _hub
from holdfast.models.loading import (
    UNTRAINED,
    Built,
    Request,
    build_and_load,
    keyed_initialization,
    load_weights,
)
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import read_weights

# Ported from TensorFlow: the network itself undoes the usual normalization. torchvision sets
# this only when it loads the weights itself.
_PORTED = {"transform_input": True, "aux_logits": True, "init_weights": False}
_ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": _PORTED, "inception_v3": _PORTED}


def names() -> list[str]:
    """Classification architectures."""
    return list_models(module=torchvision.models)


def notes() -> list[tuple[str, str]]:
    """Names with input size and the sets of weights that `NAME.WEIGHTS` can say."""
    rows = []
    for name in names():
        weights = get_model_weights(name)
        size = _default(name).transforms().crop_size[0]
        rows.append((name, f"{size} px, {' or '.join(entry.name for entry in weights)}"))
    return rows


def knows(name: str) -> bool:
    """Whether an architecture, with or without a set of weights, has this name."""
    return name.partition(".")[0] in names()


def build(request: Request) -> Built:
    """Build `torchvision:NAME` or `torchvision:NAME.WEIGHTS`; pretrained unless a file is given.

    Without WEIGHTS, torchvision's default set gives the weights and, also for a file's, the
    preprocessing.

    Raises:
        UnknownNameError: No such architecture or set of weights.
        MissingError: The pretrained weights are neither cached nor reachable.
        BadValueError: The weights do not fit.
    """
    name, weights = _resolve(request.name)
    if request.weights is not None or not request.pretrained:
        net, fresh = build_and_load(_maker(name), request)
    else:
        net, fresh = _pretrained(name, weights, request)
    return Built(
        net=net.eval(),
        preprocessing=_preprocessing(weights),
        identity=f"torchvision:{name}",
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None and not request.pretrained else frozenset(),
    )


def _maker(name: str) -> Callable[[int | None], nn.Module]:
    def make(classes: int | None) -> nn.Module:
        arguments = {} if classes is None else {"num_classes": classes}
        return get_model(name, weights=None, **arguments, **_ARGUMENTS.get(name, {}))

    return make


def _resolve(text: str) -> tuple[str, WeightsEnum]:
    name, _, chosen = text.partition(".")
    if name not in names():
        raise unknown_name("torchvision model", name, names())
    if not chosen:
        return name, _default(name)
    entries = {entry.name: entry for entry in get_model_weights(name)}
    if chosen not in entries:
        raise unknown_name(f"weights of torchvision model {name}", chosen, entries)
    return name, entries[chosen]


def _default(name: str) -> WeightsEnum:
    return get_model_weights(name).DEFAULT


def _pretrained(
    name: str, weights: WeightsEnum, request: Request
) -> tuple[nn.Module, tuple[str, ...]]:
    usual = len(weights.meta["categories"])
    if request.part == "all" and request.classes not in (None, usual):
        raise BadValueError(
            f"the pretrained weights of {request.spec} have {usual} classes, but "
            f"{request.classes} were asked for; load the weights part 'backbone', which leaves "
            "the last layer fresh, or give a fine-tuned checkpoint with --weights FILE"
        )
    state = read_weights(_fetched(weights, request))
    with keyed_initialization(request.spec, request.init_seed):
        net = _maker(name)(request.classes)
    return net, load_weights(net, state, part=request.part, what="the pretrained weights")


def _fetched(weights: WeightsEnum, request: Request) -> Path:
    """Path of the downloaded file; its name carries the first digits of its sha256."""
    folder = Path(_hub.torch_cache())
    name = Path(urlsplit(weights.url).path).name
    path = folder / name
    if path.exists():
        return path
    reason = _hub.unreachable(weights.url)
    if reason:
        raise _hub.missing(request.spec, name, str(folder), reason)
    folder.mkdir(parents=True, exist_ok=True)
    prefix = path.stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(weights.url, str(path), prefix, progress=False)
    except _hub.NOT_FETCHED as error:
        raise _hub.missing(request.spec, name, str(folder), str(error)) from error
    return path


def _preprocessing(weights: WeightsEnum) -> Preprocessing:
    transform = weights.transforms()
    return Preprocessing(
        input_size=(transform.crop_size[0], transform.crop_size[0]),
        scale_size=(transform.resize_size[0], transform.resize_size[0]),
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        interpolation=transform.interpolation.value,
    )
