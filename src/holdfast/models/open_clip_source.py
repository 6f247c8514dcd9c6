"""`open_clip:ARCH/PRETRAINED`: the visual trunk of a CLIP under a linear head, or under words.

Needs the extra `clip` (open_clip_torch). PRETRAINED is one of open_clip's own tags, as in
`open_clip:convnext_base_w/laion2b_s13b_b82k`; ARCH alone does where a file gives the weights, or
none are wanted.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, MissingError, unknown_name
from holdfast.models import _hub
from holdfast.models.classifier import Card, Classifier
from holdfast.models.loading import (
    UNTRAINED,
    Built,
    Request,
    build_and_load,
    head_layers,
    keyed_initialization,
)
from holdfast.models.preprocessing import Preprocessing, Resize
from holdfast.models.sources import best_device, named_device

TEMPLATES = ("a photo of a {}.",)  # Radford et al. 2021, arXiv:2103.00020, section 3.1.4
_PREFIX = "open_clip:"
_PLACEHOLDER = 2  # classes of a head that is rebuilt once its file has said how many there are
_RESIZE: dict[str, Resize] = {"shortest": "short", "squash": "squash", "longest": "border"}
_UNREADABLE = (RuntimeError, ValueError, OSError, LookupError, pickle.UnpicklingError)


class ClipTrunk(nn.Module):
    """A CLIP's image encoder, its projection included, under one linear layer.

    So do Heuillet et al. 2025, arXiv:2508.14079, for their two CLIP ConvNeXt. Takes normalized
    pixels [B, 3, H, W]; gives logits [B, classes].
    """

    def __init__(self, visual: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(_pooled(self.visual(images)))
        return logits


class ClipZeroShot(nn.Module):
    """Cosines between a CLIP's embedding of an image and those of texts, times its logit scale.

    Args:
        visual: The image encoder.
        texts: Embeddings of unit length, [classes, D].
        scale: The logit scale, 1 over the temperature.
    """

    def __init__(self, visual: nn.Module, texts: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(texts.shape[1], texts.shape[0], bias=False)
        with torch.no_grad():
            self.head.weight.copy_(scale * texts)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.normalize(_pooled(self.visual(images)), dim=-1))
        return logits


def names() -> list[str]:
    """Architectures with each of their pretrained tags; none where open_clip is not installed."""
    if not _installed():
        return []
    return [f"{name}/{tag}" for name, tag in _open_clip().list_pretrained()]


def notes() -> list[tuple[str, str]]:
    """Names with input size and width."""
    if not _installed():
        return [("ARCH/PRETRAINED", "trunk of a CLIP; needs pip install 'holdfast[clip]'")]
    rows = []
    for name in names():
        config = _open_clip().get_model_config(name.partition("/")[0])
        size = _sides(config["vision_cfg"].get("image_size", 224))[-1]
        rows.append((name, f"{size} px, {config['embed_dim']} features under a fresh head"))
    return rows


def knows(name: str) -> bool:
    """Whether an architecture, with or without a tag, has this name."""
    return _installed() and name.partition("/")[0] in _open_clip().list_models()


def build(request: Request) -> Built:
    """Build `open_clip:ARCH/PRETRAINED` or `open_clip:ARCH`.

    The pretrained weights hold no classifier, so classes and the part `backbone` must be asked
    for, unless a file gives a whole network or `pretrained` is False.

    Raises:
        UnknownNameError: No such architecture or tag.
        MissingError: open_clip is not installed, or the weights are neither cached nor reachable.
        BadValueError: No number of classes, or the weights do not fit.
    """
    arch, tag = _parsed(request.name)
    whole_file = request.weights is not None and request.part == "all"
    if request.classes is None and not whole_file:
        raise BadValueError(_features(request))
    made: list[Any] = []

    def make(classes: int | None, *, file: Path | None = None) -> nn.Module:
        clip = _created(request.spec, arch, tag, file)
        made.append(clip.visual.preprocess_cfg)
        return ClipTrunk(clip.visual, _width(arch), classes or _PLACEHOLDER)

    if request.weights is not None or not request.pretrained:
        net, fresh = build_and_load(make, request)
    else:
        if request.part == "all":
            raise BadValueError(_features(request))
        file = _weights_file(request.spec, arch, tag)
        with keyed_initialization(request.spec, request.init_seed):
            net = make(request.classes, file=file)
        fresh = tuple(f"{layer}.{kind}" for layer in head_layers(net) for kind in _LINEAR)
    return Built(
        net=net.eval(),
        preprocessing=_preprocessing(made[-1]),
        identity=f"{_PREFIX}{request.name}",
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None and not request.pretrained else frozenset(),
    )


_LINEAR = ("weight", "bias")


def zero_shot(
    spec: str,
    class_names: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    device: str | torch.device = "auto",
    pretrained: bool = True,
) -> Classifier:
    """Build a classifier from the names of its classes, without a training image.

    A class's weights are the mean of its templates' embeddings, each of unit length and the mean
    scaled to unit length again; the logits are cosines times the CLIP's logit scale (Radford et
    al. 2021, arXiv:2103.00020, section 3.1.4).

    Args:
        spec: `open_clip:ARCH/PRETRAINED`.
        class_names: Names as they stand in a sentence, in the order of the labels.
        templates: Sentences with `{}` where the name belongs.
        device: cpu, cuda, mps, or auto.
        pretrained: False for random towers, flag `untrained`; for tests.

    Raises:
        UnknownNameError: No such architecture or tag.
        MissingError: open_clip is not installed, or the weights are neither cached nor reachable.
        BadValueError: Not an open_clip model, fewer than two names, or a template without `{}`.
    """
    text = spec.strip()
    if not text.startswith(_PREFIX):
        raise BadValueError(f"a zero-shot classifier is open_clip:ARCH/PRETRAINED, got {spec!r}")
    if len(class_names) < 2 or not templates or not all("{}" in line for line in templates):
        raise BadValueError(
            "a zero-shot classifier needs two class names or more, and templates with {} where "
            f"the name belongs, got {len(class_names)} names and templates {list(templates)}"
        )
    name = text.removeprefix(_PREFIX)
    arch, tag = _parsed(name)
    file = _weights_file(text, arch, tag) if pretrained else None
    with keyed_initialization(text):
        clip = _created(text, arch, tag, file)
    preprocessing = _preprocessing(clip.visual.preprocess_cfg)
    with torch.no_grad():
        texts = _embedded(clip.eval(), text, arch, class_names, templates)
        net = ClipZeroShot(clip.visual, texts, float(clip.logit_scale.exp()))
    card = Card(
        name=text,
        preprocessing=preprocessing,
        identity=f"{_PREFIX}{name} zero-shot",
        flags=frozenset() if pretrained else UNTRAINED,
    )
    place = best_device() if device == "auto" else named_device(device)
    return Classifier(net.eval(), card, place).probe()


def _embedded(
    clip: Any, spec: str, arch: str, class_names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Text embeddings [classes, D] of unit length."""
    try:
        with _quiet():
            tokenize = _open_clip().get_tokenizer(arch)
    except (*_UNREADABLE, ImportError) as error:
        raise MissingError(f"the tokenizer of {spec} cannot be had: {_line(error)}") from error
    rows = []
    for name in class_names:
        tokens = tokenize([line.replace("{}", name) for line in templates])
        mean = F.normalize(clip.encode_text(tokens), dim=-1).mean(0)
        rows.append(F.normalize(mean, dim=-1))
    return torch.stack(rows)


def _installed() -> bool:
    return importlib.util.find_spec("open_clip") is not None


def _open_clip() -> Any:
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise MissingError(
            f"models open_clip:NAME need the package open_clip_torch ({error}); "
            "pip install 'holdfast[clip]'"
        ) from error


def _parsed(name: str) -> tuple[str, str]:
    """Architecture and tag, empty where none is named."""
    package = _open_clip()
    arch, _, tag = name.partition("/")
    if arch not in package.list_models():
        raise unknown_name("open_clip model", arch, package.list_models())
    tags = package.list_pretrained_tags_by_model(arch)
    if tag and tag not in tags:
        raise unknown_name(f"pretrained tag of open_clip model {arch}", tag, tags)
    return arch, tag


def _width(arch: str) -> int:
    return int(_open_clip().get_model_config(arch)["embed_dim"])


def _created(spec: str, arch: str, tag: str, file: Path | None) -> Any:
    """The whole CLIP, with the tag's normalization, and its weights where a file is given."""
    package = _open_clip()
    config = package.get_pretrained_cfg(arch, tag) if tag else {}
    kept = ("mean", "std", "interpolation", "resize_mode")
    try:
        with _quiet():
            return package.create_model(
                arch,
                pretrained=None if file is None else str(file),
                force_quick_gelu=bool(config.get("quick_gelu")),
                force_preprocess_cfg={key: config[key] for key in kept if key in config},
                pretrained_text=False,
            )
    except (*_UNREADABLE, ImportError) as error:
        raise BadValueError(f"{spec} cannot be built by open_clip: {_line(error)}") from error


def _weights_file(spec: str, arch: str, tag: str) -> Path:
    """Path of a tag's weights, from a cache or fetched there."""
    package = _open_clip()
    if not tag:
        tags = ", ".join(package.list_pretrained_tags_by_model(arch)) or "none"
        raise BadValueError(
            f"{spec} names no weights; write {_PREFIX}{arch}/PRETRAINED (there are: {tags}), or "
            "give a checkpoint with --weights FILE"
        )
    config = package.get_pretrained_cfg(arch, tag)
    repository, file = os.path.split(config.get("hf_hub") or "")
    for name in (file,) if file else _default_files():
        cached = _hub.cached_file(repository, name) if repository else None
        if cached is not None:
            return cached
    what = repository or str(config.get("url"))
    cache = _hub.hugging_face_cache() if repository else "~/.cache/clip"
    reason = _hub.hugging_face_unreachable() if repository else _hub.unreachable(what)
    if reason:
        raise _hub.missing(spec, what, cache, reason)
    try:
        with _quiet():
            return Path(package.download_pretrained(config))
    except (*_hub.NOT_FETCHED, *_UNREADABLE) as error:
        raise _hub.missing(spec, what, cache, _line(error)) from error


def _default_files() -> tuple[str, ...]:
    constants = importlib.import_module("open_clip.constants")
    return constants.HF_SAFE_WEIGHTS_NAME, constants.HF_WEIGHTS_NAME


def _features(request: Request) -> str:
    return (
        f"{request.spec} gives features, not classes: give classes and the weights part "
        "'backbone', which draws a fresh head, or a fine-tuned checkpoint with --weights FILE"
    )


def _preprocessing(config: dict[str, Any]) -> Preprocessing:
    """Translate open_clip's; it pads with black where ours pads with the mean color."""
    return Preprocessing(
        input_size=_sides(config["size"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        resize=_RESIZE[config["resize_mode"]],
    )


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _pooled(features: Any) -> Tensor:
    """Embedding [B, D]; a captioner's encoder gives its tokens besides."""
    pooled: Tensor = features[0] if isinstance(features, tuple) else features
    return pooled


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from logging through the root logger, and from setting that one up."""
    root, silent, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(silent)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
