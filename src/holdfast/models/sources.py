"""From what a person names to a `Classifier`."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, get_args

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadTypeError, BadValueError, UnknownNameError, unknown_name
from holdfast.models.classifier import Card, Classifier
from holdfast.models.declared import declared_preprocessing
from holdfast.models.loading import UNTRAINED, Built, Part, Request, load_weights
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.saved import SavedModel, is_saved, read_saved
from holdfast.models.weights import read_weights

Model = str | nn.Module | Classifier | Callable[[Tensor], Tensor]

# Imported when first named: timm alone takes a second.
_SOURCES = {
    "timm": "holdfast.models.timm_source",
    "torchvision": "holdfast.models.torchvision_source",
    "small": "holdfast.models.small",
    "nb201": "holdfast.models.nb201_source",
    "open_clip": "holdfast.models.open_clip_source",
    "backbone": "holdfast.models.backbones",
}
_FILE_SOURCE = "holdfast.models.file_source"
_SURGERY = "holdfast.models.surgery"
CHANGED = " + "  # between a model and a change of it
_PLUS = re.compile(r" \+ (?=[^/\\]*$)")
_TIGHT = re.compile(r"\+\s*([A-Za-z_]+)[^/\\]*$")  # a plus sign that may have meant the same


class Source(Protocol):
    """What each module of a source has."""

    def names(self) -> list[str]:
        """Names that `build` takes."""
        ...

    def notes(self) -> list[tuple[str, str]]:
        """Names, each with a few words."""
        ...

    def knows(self, name: str) -> bool:
        """Whether `name` is one of the source's architectures."""
        ...

    def build(self, request: Request) -> Built:
        """Build the network."""
        ...


def load_model(  # noqa: PLR0913 - the public face; each is a keyword a person may want
    model: Model,
    *,
    weights: Path | str | None = None,
    weights_part: Part = "all",
    classes: int | None = None,
    device: str | torch.device = "auto",
    preprocessing: Preprocessing | None = None,
    pretrained: bool = True,
    init_seed: int = 0,
) -> Classifier:
    """Build a classifier, load its weights, and probe it once.

    Args:
        model: `timm:NAME`, `timm:hf-hub:ORG/NAME`, `torchvision:NAME`, `open_clip:ARCH/TAG`,
            `backbone:ID`, `small:NAME`, `nb201:CELL`, `FILE.py:FUNCTION`; or a module or callable
            that takes float images [B, C, H, W] in [0, 1] and gives logits [B, K]. A module is put
            in evaluation mode, in place. Changes of `holdfast.models.surgery` may follow a name:
            `timm:NAME + low_pass(std=0.5)`; they are made in order when the weights are in.
        weights: Checkpoint to load instead of pretrained weights.
        weights_part: `backbone` leaves the last layer fresh, drawn from a keyed generator.
        classes: Number of classes; None takes what the weights have.
        device: cpu, cuda, mps, or auto: the best there is for a name, and where it lies for an
            object.
        preprocessing: Replaces the source's own, or what an object declares; see
            `Preprocessing.resized_to` for the same at another size. A network of timm whose size
            is fixed is built for the size asked for, its position embedding resampled.
        pretrained: False draws all weights afresh (flag `untrained`) where a source has pretrained
            ones and no file is given; other sources have none anyway.
        init_seed: Of the weights that are drawn afresh, a head's or all; 0 or more.

    Raises:
        UnknownNameError: No such model; the message names near ones.
        MissingError: A file, or pretrained weights that cannot be fetched.
        BadValueError: Weights that do not fit, or a network that is no classifier.
        BadTypeError: `model` is none of the above.
    """
    if weights_part not in get_args(Part):
        raise BadValueError(f"weights_part must be all or backbone, got {weights_part!r}")
    if init_seed < 0:
        raise BadValueError(f"init_seed must be 0 or more, got {init_seed}")
    place = _device(device, model)
    path = None if weights is None else Path(weights)
    base, texts = split_changes(model) if isinstance(model, str) else ("", ())
    if texts:
        changes = _changes(texts)  # a misspelt one is told before anything is fetched
        found = load_model(
            base,
            weights=weights,
            weights_part=weights_part,
            classes=classes,
            device=place,
            preprocessing=preprocessing,
            pretrained=pretrained,
            init_seed=init_seed,
        )
        return _changed(found, changes)
    if isinstance(model, Classifier) and path is None and preprocessing is None:
        return _with_classes(model.to(place), classes)
    if isinstance(model, str):
        request = Request(
            spec=model,
            name=model,
            weights=path,
            part=weights_part,
            classes=classes,
            pretrained=pretrained,
            init_seed=init_seed,
            input_size=None if preprocessing is None else preprocessing.input_size,
        )
        built, name = _from_name(request), model.strip()
    else:
        built, name = _from_object(model, path, weights_part)
    card = Card(
        name=name,
        preprocessing=preprocessing or built.preprocessing,
        identity=built.identity,
        source_digest=built.source_digest,
        fresh_keys=built.fresh_keys,
        flags=built.flags,
    )
    return _with_classes(Classifier(built.net, card, place).probe(), classes)


def split_changes(text: str) -> tuple[str, tuple[str, ...]]:
    """A model's spec and the changes that follow it: `timm:NAME + low_pass(std=0.5)`.

    Raises:
        BadValueError: Nothing before or after a plus sign, or no space.
    """
    # A folder may have a plus sign in its name, and no change has a slash.
    if "+" not in text or _is_folder(text):
        return text.strip(), ()
    model, *changes = (part.strip() for part in re.split(_PLUS, f" {text} "))
    if not all((model, *changes)):
        raise BadValueError(
            "a plus sign joins a model and a change of it, as in small:cnn + low_pass(std=0.5), "
            f"and one is missing in {text!r}: write it, or leave the plus sign out"
        )
    tight = [found[1] for part in (model, *changes) if (found := _TIGHT.search(part))]
    if tight and not set(tight).isdisjoint(_known_changes()):
        raise BadValueError(
            f"write a space on both sides of the plus sign in {text!r}, as in "
            "small:cnn + low_pass(std=0.5)"
        )
    return model, tuple(changes)


def model_names(source: str) -> list[str]:
    """Names that a source knows, without its prefix.

    Raises:
        UnknownNameError: No such source.
    """
    return _source(source).names()


def known_models() -> list[tuple[str, str]]:
    """Every spec that needs no file, with a few words on each; files first, by example."""
    rows = [("FILE.py:FUNCTION", "your own file; FUNCTION() returns a torch module")]
    for prefix in ("small", "nb201", "backbone", "torchvision", "timm", "open_clip"):
        rows += [(f"{prefix}:{name}", note) for name, note in _source(prefix).notes()]
    return rows


def _with_classes(classifier: Classifier, classes: int | None) -> Classifier:
    if classes not in (None, classifier.classes):
        hint = (
            "; let the function take their number, as in def build(classes=10)"
            if ".py:" in classifier.name
            else ""
        )
        raise BadValueError(
            f"{classifier.name} gives {classifier.classes} classes, but {classes} were asked for"
            f"{hint}"
        )
    return classifier


def _source(prefix: str) -> Source:
    if prefix not in _SOURCES:
        raise unknown_name("model source", prefix, _SOURCES)
    module: Any = importlib.import_module(_SOURCES[prefix])
    return module


def _from_name(request: Request) -> Built:
    text = request.spec.strip()
    prefix, separator, name = text.partition(":")
    if separator and prefix in _SOURCES:
        if not name:
            raise BadValueError(f"{text!r} names no model; write {prefix}:NAME")
        return _source(prefix).build(replace(request, spec=text, name=name))
    if is_saved(text):
        return _from_folder(replace(request, spec=text), Path(text).expanduser())
    files: Any = importlib.import_module(_FILE_SOURCE)
    if files.split_file_spec(text) is not None:
        built: Built = files.build(replace(request, spec=text, name=text))
        return built
    raise _unknown(text)


def _changes(texts: Sequence[str]) -> list[Any]:
    surgery: Any = importlib.import_module(_SURGERY)
    changes: list[Any] = surgery.parse_changes(texts)
    return changes


def _is_folder(text: str) -> bool:
    try:
        return is_saved(text)
    except (OSError, ValueError):  # a text too long for a name
        return False


def _known_changes() -> Sequence[str]:
    surgery: Any = importlib.import_module(_SURGERY)
    return tuple(surgery.CHANGES)


def _changed(classifier: Classifier, changes: Sequence[Any]) -> Classifier:
    for change in changes:
        classifier = change.change(classifier)
    return classifier


def _from_folder(request: Request, folder: Path) -> Built:
    """Build the network that training left in a folder, with its weights or those of a file."""
    saved = read_saved(folder)
    own = folder / saved.weights if request.pretrained else None
    base, texts = split_changes(saved.name)
    if texts:
        return _changed_folder(request, saved, base, texts, request.weights or own)
    built = _from_name(
        replace(
            request,
            spec=saved.name,
            weights=request.weights or own,
            classes=request.classes or saved.classes,
            input_size=request.input_size or saved.preprocessing.input_size,
        )
    )
    return replace(built, preprocessing=saved.preprocessing)


def _changed_folder(
    request: Request, saved: SavedModel, base: str, texts: Sequence[str], weights: Path | None
) -> Built:
    """Build a network, change it, and load what training made of the changed one."""
    bare = load_model(
        base,
        classes=request.classes or saved.classes,
        device="cpu",
        pretrained=False,
        init_seed=request.init_seed,
        preprocessing=saved.preprocessing,  # its size decides the shape of weights
    )
    changed = bare
    for change in _changes(texts):
        changed = change.remake(changed)
    fresh = changed.card.fresh_keys
    net: Any = changed.net
    if weights is not None:
        what = f"the weights in {weights}"
        fresh = load_weights(net, read_weights(weights), part=request.part, what=what)
    flags = changed.card.flags if weights is None else changed.card.flags - UNTRAINED
    return Built(
        net=net,
        preprocessing=saved.preprocessing,
        identity=changed.card.identity,
        source_digest=changed.card.source_digest,
        fresh_keys=fresh,
        flags=flags,
    )


def _unknown(text: str) -> UnknownNameError | BadValueError:
    if Path(text).is_dir():
        return BadValueError(
            f"{text} is a folder without model.json: `holdfast train run --out {text}` writes one "
            "when it has measured the network or ended"
        )
    if Path(text).is_file():
        return BadValueError(
            f"{text} is a file, not a model: name the network it belongs to, and give the file "
            "as weights (--weights FILE)"
        )
    if "/" in text:
        return UnknownNameError(
            f"no model named {text!r}; a model of the Hugging Face hub is timm:hf-hub:ORG/NAME, "
            "and one of your own is FILE.py:FUNCTION"
        )
    owners = [f"{prefix}:{text}" for prefix in _SOURCES if _source(prefix).knows(text)]
    if owners:
        return UnknownNameError(f"no model source in {text!r}; did you mean {_either(owners)}?")
    near = difflib.get_close_matches(text.rpartition(":")[2], _owners(), n=3, cutoff=0.5)
    hint = f" (did you mean {_either([_owners()[name] for name in near])}?)" if near else ""
    return UnknownNameError(
        f"no model named {text!r}{hint}; models are timm:NAME, torchvision:NAME, "
        "open_clip:ARCH/TAG, backbone:ID, small:NAME, nb201:CELL or FILE.py:FUNCTION"
    )


def _owners() -> dict[str, str]:
    """Architecture to spec; torchvision's where both have one."""
    timm: Any = importlib.import_module("timm")
    owners = {name: f"timm:{name}" for name in timm.list_models()}
    for prefix in ("torchvision", "small"):
        owners |= {name: f"{prefix}:{name}" for name in _source(prefix).names()}
    return owners


def _either(specs: list[str]) -> str:
    return " or ".join(specs)


def _from_object(model: Any, weights: Path | None, part: Part) -> tuple[Built, str]:
    if isinstance(model, type) or not callable(model):
        got = f"the class {model.__name__}" if isinstance(model, type) else repr(model)
        raise BadTypeError(
            "a model is a name such as timm:resnet50, a torch module, or a callable from images "
            f"to logits; got {got}"
        )
    net = model.net if isinstance(model, Classifier) else model
    kind: Any = net if hasattr(net, "__name__") else type(net)
    name = model.name if isinstance(model, Classifier) else str(kind.__name__)
    fresh: tuple[str, ...] = ()
    if weights is not None:
        if not isinstance(net, nn.Module):
            raise BadValueError(f"weights go into a torch module, and {name} is none")
        what = f"the weights in {weights}"
        fresh = load_weights(net, read_weights(weights), part=part, what=what)
    wanted = (
        model.preprocessing if isinstance(model, Classifier) else declared_preprocessing(net, name)
    )
    return Built(net=net, preprocessing=wanted, identity="", fresh_keys=fresh), name


def _device(device: str | torch.device, model: Model) -> torch.device:
    if device != "auto":
        return named_device(device)
    if isinstance(model, Classifier):
        return model.device
    if isinstance(model, nn.Module):
        first = next(model.parameters(), None)
        return torch.device("cpu") if first is None else first.device
    if isinstance(model, str):
        return best_device()
    return torch.device("cpu")


def named_device(device: str | torch.device) -> torch.device:
    """Device of that name.

    Raises:
        BadValueError: No such device, or none on this machine.
    """
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        raise BadValueError(f"device must be auto, cpu, cuda or mps, got {device!r}") from None
    if place.type not in ("cpu", "cuda", "mps"):
        raise BadValueError(f"device must be auto, cpu, cuda or mps, got {device!r}")
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if place.type in present and not present[place.type]():
        raise BadValueError(f"no {place.type} device on this machine; use cpu or auto")
    return place


def best_device() -> torch.device:
    """Accelerator of this machine, or its CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
