"""`timm:NAME`: networks of timm with the preprocessing of their configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from huggingface_hub.errors import HFValidationError
from timm.data.config import resolve_data_config
from torch import nn

from holdfast.core.errors import BadValueError, MissingError, unknown_name
from holdfast.models import _hub
from holdfast.models.loading import (
    UNTRAINED,
    Built,
    Request,
    build_and_load,
    keyed_initialization,
    load_weights,
)
from holdfast.models.preprocessing import Preprocessing, Resize

_HUB = "hf-hub:"
_WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
_RESIZE: dict[str, Resize] = {"center": "short", "squash": "squash", "border": "border"}


def names() -> list[str]:
    """Architectures with each of their pretrained tags, as in `resnet50.a1_in1k`."""
    return list(timm.list_pretrained())


def notes() -> list[tuple[str, str]]:
    """Names with input size and number of classes."""
    rows = []
    for name in names():
        config = timm.get_pretrained_cfg(name)
        if config is not None:
            rows.append((name, f"{config.input_size[-1]} px, {config.num_classes} classes"))
    return rows


def knows(name: str) -> bool:
    """Whether an architecture, with or without a tag, has this name."""
    return bool(timm.is_model(name.partition(".")[0]))


def build(request: Request) -> Built:
    """Build `timm:NAME` or `timm:hf-hub:ORG/NAME`; pretrained unless a file is given.

    A tag that gives features, such as `vit_base_patch16_224.mae`, gets a fresh head where classes
    and the part `backbone` are asked for.

    Raises:
        UnknownNameError: No such architecture or tag.
        MissingError: The pretrained weights are neither cached nor reachable.
        BadValueError: The network has no classifier, or the weights do not fit.
    """
    name = request.name
    if name.startswith(_HUB):
        _check_repository(request)
    else:
        _check_name(name)
    if request.weights is not None or not request.pretrained:
        net, fresh = build_and_load(_maker(request), request)
        _check_head(request, int(getattr(net, "num_classes", 0)))
    else:
        net, fresh = _pretrained(request)
    return Built(
        net=net.eval(),
        # timm is partly untyped.
        preprocessing=preprocessing_of(resolve_data_config({}, model=net)),  # type: ignore[no-untyped-call]
        identity=f"timm:{_full_name(name, net)}",
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None and not request.pretrained else frozenset(),
    )


def _maker(request: Request) -> Callable[[int | None], nn.Module]:
    # timm prunes arguments that are None.
    return lambda classes: _created(request, num_classes=classes)


def _created(request: Request, **arguments: Any) -> nn.Module:
    size = _other_size(request)
    if size is not None:
        arguments["img_size"] = size
    try:
        return timm.create_model(request.name, **arguments)
    except (AssertionError, TypeError) as error:
        if size is None:
            raise
        raise BadValueError(
            f"{request.spec} cannot be built for {size[0]} x {size[1]} pixels: {error}; ask for "
            "another size, such as a multiple of its patches"
        ) from error
    except _hub.NOT_FETCHED as error:
        what, cache = _weights_place(request.name)
        reason = str(error).partition("\n")[0]
        raise _hub.missing(request.spec, what, cache, reason) from error
    except HFValidationError as error:
        raise BadValueError(
            f"{request.spec}: expected timm:hf-hub:ORG/NAME, as in "
            f"timm:hf-hub:timm/resnet18.a1_in1k ({error})"
        ) from error


def _other_size(request: Request) -> tuple[int, int] | None:
    """Size that was asked for, where the network must be built for its size and has another."""
    if request.input_size is None or request.name.startswith(_HUB):
        return None
    config = timm.get_pretrained_cfg(request.name)
    if config is None or not config.fixed_input_size:
        return None
    return None if config.input_size[1:] == request.input_size else request.input_size


def _weights_place(name: str) -> tuple[str, str]:
    """Repository or address of a model's pretrained weights, and the folder they are kept in."""
    if name.startswith(_HUB):
        return name.removeprefix(_HUB), _hub.hugging_face_cache()
    config = timm.get_pretrained_cfg(name)
    repository = name if config is None else config.hf_hub_id
    if repository:
        return repository, _hub.hugging_face_cache()
    return str(config and config.url), _hub.torch_cache()


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown_name("timm model", name, timm.list_models())
    tags = [known for known in names() if known.startswith(f"{architecture}.")]
    if tag and name not in tags:
        raise unknown_name(f"pretrained tag of timm model {architecture}", name, tags)


def _check_repository(request: Request) -> None:
    repository = request.name.removeprefix(_HUB).partition("@")[0]
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadValueError(
            f"{request.spec}: expected timm:hf-hub:ORG/NAME, as in "
            "timm:hf-hub:timm/resnet18.a1_in1k"
        )
    if _hub.cached_file(repository, "config.json") is None:
        _require_hub(request, repository)


def _require_hub(request: Request, what: str) -> None:
    reason = _hub.hugging_face_unreachable()
    if reason:
        raise _hub.missing(request.spec, what, _hub.hugging_face_cache(), reason)


def _pretrained(request: Request) -> tuple[nn.Module, tuple[str, ...]]:
    overlay = {} if request.name.startswith(_HUB) else _overlay(request)
    with keyed_initialization(request.spec, request.init_seed):
        whole = _created(request, pretrained=True, pretrained_cfg_overlay=overlay)
    usual = int(getattr(whole, "num_classes", 0))
    if request.part == "backbone":
        with keyed_initialization(request.spec, request.init_seed):
            net = _maker(request)(request.classes)
        _check_head(request, int(getattr(net, "num_classes", 0)))
        state = whole.state_dict()
        return net, load_weights(net, state, part="backbone", what="the pretrained weights")
    if request.classes not in (None, usual):
        raise BadValueError(
            f"the pretrained weights of {request.spec} have {usual} classes, but "
            f"{request.classes} were asked for; load the weights part 'backbone', which leaves "
            "the last layer fresh, or give a fine-tuned checkpoint with --weights FILE"
        )
    _check_head(request, usual)
    return whole, ()


def _overlay(request: Request) -> dict[str, Any]:
    """Point timm at the cached file: no request to the hub, so no wait where there is none."""
    config = timm.get_pretrained_cfg(request.name)
    if config is None or not timm.models.is_model_pretrained(request.name):
        raise MissingError(
            f"timm has no pretrained weights for {request.spec}; give a checkpoint with "
            "--weights FILE"
        )
    repository = config.hf_hub_id
    if not repository:
        return {}
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _WEIGHTS_FILES
    cached = [path for name in files if (path := _hub.cached_file(repository, name))]
    if not cached:
        _require_hub(request, repository)
        return {}
    # Others are left to timm: its readers of files differ by version in what they would run.
    plain = cached[0].suffix == ".safetensors" and not config.custom_load
    return {"file": str(cached[0])} if plain else {}


def _check_head(request: Request, classes: int) -> None:
    if classes < 1:
        raise BadValueError(
            f"{request.spec} gives features, not classes: its pretrained weights have no "
            "classifier. Name a fine-tuned tag (`holdfast list models`), give classes and a "
            "checkpoint with --weights FILE, or classes and the weights part 'backbone', which "
            "draws a fresh last layer"
        )


def preprocessing_of(config: dict[str, Any]) -> Preprocessing:
    """Translate what `timm.data.resolve_data_config` gives."""
    channels, height, width = config["input_size"]
    # Truncated as in timm's evaluation transform.
    scale = (int(height / config["crop_pct"]), int(width / config["crop_pct"]))
    return Preprocessing(
        input_size=(height, width),
        scale_size=scale,
        channels=channels,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        resize=_RESIZE[config["crop_mode"]],
    )


def _full_name(name: str, net: nn.Module) -> str:
    if name.startswith(_HUB) or "." in name:
        return name
    config: dict[str, Any] = getattr(net, "pretrained_cfg", None) or {}
    tag = config.get("tag")
    return f"{name}.{tag}" if tag else name
