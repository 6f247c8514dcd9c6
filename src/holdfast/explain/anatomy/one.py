"""The anatomy of one model, as a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from torch import nn
from torchvision.models import get_model_weights

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.explain.anatomy.origin import family, full_name, origin
from holdfast.explain.anatomy.structure import Structure, structure
from holdfast.models import Classifier, Preprocessing, load_model
from holdfast.records.explanations import ANATOMY_COLUMNS

Row = dict[str, Any]
_TIMM = "timm:"
_GRAPH_COLUMNS = tuple(name for name in Structure.__dataclass_fields__ if name != "flags")
_SIZES = (224, 32, 28)  # pixels that are tried for a network that does not say its size


def anatomy(model: str | nn.Module | Classifier) -> Row:
    """Anatomy of a model: a row with the columns `ANATOMY_COLUMNS`.

    Args:
        model: `timm:NAME` or a bare name of timm, built on the meta device, so that nothing is
            downloaded; another spec of `load_model`, built without pretrained weights; or an
            object.

    Raises:
        UnknownNameError: No such model.
        BadValueError: It cannot be built, or does not run.
    """
    if isinstance(model, str):
        name = model.removeprefix(_TIMM)
        if timm.is_model(name.partition(".")[0]) and ":" not in name:
            return timm_anatomy(name)
        classifier = load_model(model, device="cpu", pretrained=False)
        name = model
    else:
        classifier = load_model(model)
        name = classifier.name
    if not isinstance(classifier.net, nn.Module):
        raise BadValueError(f"{name} is a function: anatomy is read from a torch module")
    wanted = classifier.preprocessing
    sides, found = _at_some_size(classifier.net, wanted)
    row = _row(name, name.partition(":")[2] or name, found)
    row |= _of_preprocessing(wanted) | {"classes": classifier.classes, "input_size": sides[0]}
    if wanted.input_size is None:
        any_size = f"It does not say its size; multiply-adds are those of {sides[0]} pixels."
        row["flags"] = " ".join((*found.flags, any_size))
    return _named_origin(row, name)


def _at_some_size(net: nn.Module, wanted: Preprocessing) -> tuple[tuple[int, int], Structure]:
    """Structure at the network's size, or at the first usual one at which it runs.

    Raises:
        BadValueError: It runs at none; the message is that of the first.
    """
    sizes = [wanted.input_size] if wanted.input_size else [(side, side) for side in _SIZES]
    errors = []
    for size in sizes:
        try:
            return size, structure(net, (wanted.channels, *size))
        except BadValueError as error:
            errors.append(error)
    raise errors[0]


def timm_anatomy(name: str, structures: Mapping[str, Structure] | None = None) -> Row:
    """Anatomy of a name of timm; nothing is downloaded.

    Args:
        name: Architecture with or without a tag.
        structures: By `structure_key`, of architectures that were traced already.

    Raises:
        UnknownNameError: No such architecture or tag.
        BadValueError: It cannot be built or does not run; the message says why.

    A name without a tag has the configuration and origin of its default weights.
    """
    config = _config(name)
    found = (structures or {}).get(structure_key(name))
    if found is None:
        found = timm_structure(name)
    came = origin(name)
    row = _row(name, full_name(name).partition(".")[0], found)
    row |= {key: value for key, value in asdict(came).items() if key != "flags"}
    settings = resolve_data_config(pretrained_cfg=config)  # type: ignore[no-untyped-call]
    std = tuple(settings["std"])
    row |= {
        "flags": " ".join((*found.flags, *came.flags)) or None,
        "input_size": settings["input_size"][1],
        "mean": _listed(settings["mean"]),
        "std": _listed(std),
        "pixel_factor": 1 / min(std),
        "classes": config["num_classes"],
        "crop_fraction": settings["crop_pct"],
        "crop_mode": settings["crop_mode"],
        "interpolation": settings["interpolation"],
    }
    return row


def timm_structure(name: str) -> Structure:
    """Structure of a name of timm, built on the meta device at its configured size.

    Raises:
        BadValueError: It cannot be built or does not run.
    """
    try:
        with torch.device("meta"):
            net = timm.create_model(full_name(name), pretrained=False)
    except Exception as error:  # a network may raise anything
        raise BadValueError(
            f"timm cannot build {name}: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    built: Any = net
    size = tuple(built.pretrained_cfg["input_size"])
    return structure(net.eval(), (size[0], size[1], size[2]))


def structure_key(name: str) -> str:
    """What decides the structure: architecture, input size, classes and what a tag may set."""
    config = _config(name)
    settings = ("input_size", "num_classes", "fixed_input_size", "pool_size")
    architecture = full_name(name).partition(".")[0]
    return " ".join([architecture, *(str(config.get(key)) for key in settings)])


def failed_row(name: str, error: BaseException) -> Row:
    """Row of a model that cannot be read."""
    row = dict.fromkeys(ANATOMY_COLUMNS)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return row | {
        "model": name,
        "architecture": name.partition(".")[0],
        "status": "failed",
        "error": lines[0],
    }


def _config(name: str) -> dict[str, Any]:
    current = full_name(name)
    architecture = current.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown_name("architecture of timm", architecture, timm.list_models())
    try:
        found = timm.get_pretrained_cfg(current)
    except RuntimeError as error:  # its word for a tag that does not exist
        tags = timm.list_pretrained(f"{architecture}.*")
        raise unknown_name("pretrained model of timm", name, tags) from error
    if found is None:
        raise BadValueError(f"timm has no configuration for {name}")
    body: dict[str, Any] = found.to_dict()  # type: ignore[no-untyped-call]
    return body


def _row(name: str, architecture: str, found: Structure) -> Row:
    row: Row = dict.fromkeys(ANATOMY_COLUMNS)
    row |= {column: getattr(found, column) for column in _GRAPH_COLUMNS}
    row |= {
        "model": name,
        "architecture": architecture,
        "status": "ok",
        "flags": " ".join(found.flags) or None,
    }
    return row


def _of_preprocessing(wanted: Preprocessing) -> Row:
    std = wanted.std or (1.0,) * wanted.channels
    return {
        "mean": _listed(wanted.mean) if wanted.mean else None,
        "std": _listed(wanted.std) if wanted.std else None,
        "pixel_factor": 1 / min(std),
        "crop_fraction": wanted.crop_fraction,
        "crop_mode": wanted.resize,
        "interpolation": wanted.interpolation,
    }


def _named_origin(row: Row, name: str) -> Row:
    """Family and, where the name is one of timm's in disguise, origin."""
    short = row["architecture"].partition("(")[0].partition(".")[0]
    row["family"] = family(short) if short else name
    if name.startswith("torchvision:"):
        came = origin(f"{short}.{_torchvision_tag(short, name.partition('.')[2])}")
        row |= {
            "pretraining": came.pretraining,
            "pretraining_data": came.pretraining_data,
            "fine_tuning_data": came.fine_tuning_data,
            "objective": came.objective,
        }
    return row


def _torchvision_tag(architecture: str, weights: str) -> str:
    """What timm would say of weights of torchvision, its default ones where none are named."""
    said = weights or get_model_weights(architecture).DEFAULT.name
    if "SWAG" not in said:
        return "tv_in1k"
    return "swag_lc_in1k" if "LINEAR" in said else "swag_ft_in1k"


def _listed(values: Any) -> str:
    return ", ".join(f"{value:.6g}" for value in values if not math.isnan(value))
