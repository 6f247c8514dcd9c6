"""RobustBench's `benchmark` over `holdfast.measure`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from holdfast.compat._telling import LOGGER, tell_flags, telling
from holdfast.core.errors import BadTypeError, BadValueError, StoreError, unknown_name
from holdfast.core.identity import digest_json
from holdfast.data import Broken, Dataset, Sample, choose, open_dataset
from holdfast.measuring import Results, measure
from holdfast.models import Classifier
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.base import Perturbation
from holdfast.perturb.conditions import parse_conditions
from holdfast.records.robustbench import ModelInfo, write_model_info

# Radii of the leaderboards; RobustBench/robustbench, README.
EPS = {
    ("cifar10", "Linf"): 8 / 255,
    ("cifar10", "L2"): 0.5,
    ("cifar100", "Linf"): 8 / 255,
    ("imagenet", "Linf"): 4 / 255,
}
DATASETS = ("cifar10", "cifar100", "imagenet")
THREAT_MODELS = ("Linf", "L2", "corruptions")
# RobustBench/robustbench, data.py: what ImageNet pictures go through.
PREPROCESSINGS: dict[str, Callable[[Any], Any]] = {
    "Res256Crop224": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)]),
    "Res224": transforms.Resize(224),
    "Crop288": transforms.CenterCrop(288),
}


def benchmark(  # noqa: PLR0913, PLR0917 - the published signature
    model: nn.Module | Classifier | Callable[[Tensor], Tensor],
    n_examples: int = 10_000,
    dataset: Any = "cifar10",
    threat_model: Any = "Linf",
    to_disk: bool = False,  # noqa: FBT001, FBT002
    model_name: str | None = None,
    data_dir: str | Path = "./data",
    corruptions_data_dir: str | Path | None = None,
    device: Any = None,
    batch_size: int = 32,
    eps: float | None = None,
    log_path: str | Path | None = None,
    preprocessing: str | Callable[[Any], Any] | None = None,
    aa_state_path: str | Path | None = None,
) -> tuple[float, float]:
    """Clean accuracy, and accuracy under a threat: AutoAttack standard, or the 15 corruptions.

    All runs are kept in a store, so that the same call again measures nothing, and a killed one
    goes on where it was.

    Differs from RobustBench: eps may be left out where a leaderboard has one; the threat model
    `corruptions` makes its images here instead of downloading them, so that
    `corruptions_data_dir` is not used; of ImageNet a fixed draw of images is measured, the same
    for all models, and not their list of 5,000; corruptions_3d is refused.

    Args:
        model: Float images [B, C, H, W] in [0, 1] -> logits [B, K]; normalizes itself. Attributes
            such as `mean` are its own business.
        n_examples: At most so many images: of CIFAR the first ones.
        dataset: cifar10, cifar100 or imagenet; RobustBench's enumerations are taken too.
        threat_model: Linf, L2 or corruptions.
        to_disk: Whether model_info/DATASET/THREAT_MODEL/MODEL_NAME.json is written, as
            `holdfast.records.robustbench` reads it.
        model_name: Needed for that.
        data_dir: Folder of the data sets: what `holdfast.load_data` keeps there, or DATASET.npz
            (arrays x uint8 NHWC and y); or such a file. ImageNet's pictures are in its `val`.
        corruptions_data_dir: Not used.
        device: None: where the model is.
        batch_size: Images in one pass.
        eps: Radius in pixels of [0, 1].
        log_path: File that the summary is appended to.
        preprocessing: Of ImageNet's pictures: Res256Crop224, Res224, Crop288, or a function of a
            PIL image.
        aa_state_path: Folder of the store; `holdfast-store` beside the data if not given.

    Returns:
        Both as fractions.

    Raises:
        HoldfastError: What cannot be used.
    """
    name, threat = _checked(dataset, threat_model, model, to_disk=to_disk, model_name=model_name)
    radius = _radius(name, threat, eps)
    conditions = _conditions(threat, radius)
    _check_count(n_examples)  # all this before anything is downloaded
    images = _first(_open(name, Path(data_dir), preprocessing), n_examples, name)
    if corruptions_data_dir is not None and threat == "corruptions":
        LOGGER.warning("corruptions_data_dir is not used: corrupted images are made here")
    found = measure(
        _AsItIs.of(model),
        images,
        conditions,
        device="auto" if device is None else str(device),
        batch_size=batch_size,
        store=_store(Path(data_dir), aa_state_path),
    )
    clean = found.value("accuracy", "clean")
    robust = float(np.mean([found.value("accuracy", part.spec) for part in conditions]))
    with telling(verbose=True, log_path=log_path):
        LOGGER.info("Clean accuracy: %.2f%%", 100 * clean)
        LOGGER.info("Adversarial accuracy: %.2f%%", 100 * robust)
        tell_flags(_flags(found))
    if to_disk and model_name is not None:
        _write_info(name, threat, model_name, found, (clean, robust))
    return clean, robust


def _checked(
    dataset: Any, threat_model: Any, model: Any, *, to_disk: bool, model_name: str | None
) -> tuple[str, str]:
    name, threat = (str(getattr(part, "value", part)) for part in (dataset, threat_model))
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    typed, known = threat, {each.lower(): each for each in THREAT_MODELS}
    threat = known.get(typed.lower(), "")
    if not threat:
        raise unknown_name("threat model", typed, THREAT_MODELS)
    if isinstance(model, Sequence) and not isinstance(model, nn.Module):
        raise BadTypeError("expected one model, got several: call benchmark for each")
    if to_disk and not model_name:
        raise BadValueError("to_disk=True writes a file named after the model: give model_name")
    return name, threat


def _radius(name: str, threat: str, eps: float | None) -> float | None:
    if threat == "corruptions":
        if eps is not None:
            raise BadValueError(f"corruptions have no radius: leave eps out, got eps={eps}")
        return None
    if eps is None and (name, threat) not in EPS:
        raise BadValueError(f"{name} has no published eps in {threat}: give one, as in eps=0.5")
    return EPS[name, threat] if eps is None else eps


def _conditions(threat: str, radius: float | None) -> list[Perturbation]:
    if radius is not None:
        return [AttackRun((AutoAttack(norm=threat.lower(), eps=radius),))]  # type: ignore[arg-type]
    return [part for part in parse_conditions("corruptions") if part.kind != "clean"]


def _store(data_dir: Path, given: str | Path | None) -> Path:
    beside = data_dir.parent if data_dir.suffix == ".npz" else data_dir
    return beside / "holdfast-store" if given is None else Path(given)


def _flags(found: Results) -> set[str]:
    return {flag for flags in found.measurements["flags"] for flag in flags}


def _open(name: str, data_dir: Path, preprocessing: Any) -> Dataset:
    if name == "imagenet":
        function = _picture_function(preprocessing)
        return Prepared(open_dataset(f"imagenet:{data_dir / 'val'}", split="validation"), function)
    files = (data_dir, data_dir / f"{name}.npz")
    file = next((path for path in files if path.suffix == ".npz" and path.is_file()), None)
    if file is not None:
        images = open_dataset(f"npz:{file}", split="test")
    else:
        images = open_dataset(name, split="test", root=data_dir)
    if preprocessing is None:
        return images
    return Prepared(images, _picture_function(preprocessing))


def _picture_function(preprocessing: Any) -> Callable[[Any], Any]:
    if callable(preprocessing):
        return preprocessing
    if preprocessing is None:
        raise BadValueError(
            "pictures of ImageNet have many sizes: give preprocessing, one of "
            f"{', '.join(PREPROCESSINGS)}, or a function of a PIL image"
        )
    if preprocessing not in PREPROCESSINGS:
        raise unknown_name("preprocessing", str(preprocessing), PREPROCESSINGS)
    return PREPROCESSINGS[preprocessing]


def _check_count(count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadValueError(f"n_examples must be a whole number and at least 1, got {count!r}")


def _first(images: Dataset, count: int, name: str) -> Dataset:
    total = len(images)
    # Those of ImageNet lie class by class.
    ids = choose(total, count) if name == "imagenet" else list(range(min(count, total)))
    return Part(images, tuple(ids))


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a data set, as a data set.

    Attributes:
        whole: The set.
        chosen: Ids in it, ascending.
    """

    whole: Dataset
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def name(self) -> str:
        """Of the whole set."""
        return self.whole.name

    @property
    def split(self) -> str:
        """Of the whole set."""
        return self.whole.split

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the whole set."""
        return self.whole.classes

    def fingerprint(self) -> str:
        """Of the whole set, and of what was chosen."""
        whole = self.whole.fingerprint()
        if len(self.chosen) == len(self.whole):
            return whole
        return digest_json([whole, list(self.chosen)])

    def read(self, ids: Sequence[int] | None = None) -> Iterator[Sample | Broken]:
        """Stream the images; ids count from 0 in this set."""
        wanted = range(len(self)) if ids is None else ids
        places = {self.chosen[place]: place for place in wanted}
        for sample in self.whole.read(list(places)):
            yield replace(sample, id=places[sample.id])


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set whose pictures go through a function.

    Attributes:
        whole: The set.
        function: PIL image -> PIL image, or float tensor [3, H, W] in [0, 1].
    """

    whole: Dataset
    function: Callable[[Any], Any]

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def name(self) -> str:
        """Of the set."""
        return self.whole.name

    @property
    def split(self) -> str:
        """Of the set."""
        return self.whole.split

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the set."""
        return self.whole.classes

    def fingerprint(self) -> str:
        """Of the set, and of the function's own text."""
        return digest_json([self.whole.fingerprint(), repr(self.function).partition(" at 0x")[0]])

    def read(self, ids: Sequence[int] | None = None) -> Iterator[Sample | Broken]:
        """Stream the prepared images."""
        for sample in self.whole.read(ids):
            if isinstance(sample, Broken):
                yield sample
            else:
                yield replace(sample, image=_pixels(self.function(Image.fromarray(sample.image))))


def _pixels(prepared: Any) -> np.ndarray:
    """The function's result as uint8 [H, W, 3]."""
    if not isinstance(prepared, Tensor):
        return np.asarray(prepared.convert("RGB"))
    lowest, highest = float(prepared.min()), float(prepared.max())
    if prepared.ndim != 3 or not prepared.is_floating_point() or lowest < 0 or highest > 1:
        raise BadValueError(
            "preprocessing must give a PIL image or a float tensor [3, H, W] in [0, 1], got "
            f"{prepared.dtype} {list(prepared.shape)} from {lowest:g} to {highest:g}; "
            "normalization belongs into the model"
        )
    levels = prepared.mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


class _AsItIs(nn.Module):
    """A module whose attributes do not say how to prepare images: it normalizes itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.training = net.training  # the wrapper's own mode is nobody's business

    @classmethod
    def of(cls, model: Any) -> Any:
        """Wrap a module; leave anything else."""
        return cls(model) if isinstance(model, nn.Module) else model

    def forward(self, images: Tensor) -> Tensor:
        """Logits, [B, K]."""
        return self.net(images)


def _write_info(
    name: str, threat: str, model_name: str, found: Results, accuracies: tuple[float, float]
) -> None:
    """Write the file of a model below the current folder, where RobustBench puts it."""
    target = Path("model_info") / name / threat / f"{model_name}.json"
    if threat != "corruptions":
        write_model_info(target, found.measurements, ModelInfo(dataset=name))
        return
    clean, under = (f"{100 * accuracy:.2f}" for accuracy in accuracies)
    info = {"dataset": name, "clean_acc": clean, "corruptions_acc": under}
    part = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(info, indent=2), encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error}; choose another folder") from error
    finally:
        part.unlink(missing_ok=True)
