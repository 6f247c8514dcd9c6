"""`holdfast.measure`: the Python face of the loop."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from torch import nn

from holdfast.core.errors import BadTypeError, BadValueError, HoldfastError, unknown_name
from holdfast.data import Dataset, open_dataset
from holdfast.measuring.loop import Run, Subject, measure_runs, open_subject, plan
from holdfast.measuring.options import Options, Progress
from holdfast.measuring.sharding import replicate, split_devices
from holdfast.measuring.stream import LoaderStream, Stream, TensorStream
from holdfast.measuring.view import View
from holdfast.models import Classifier, load_model
from holdfast.perturb.attacks.entrance import as_tensor
from holdfast.perturb.base import Perturbation
from holdfast.perturb.conditions import parse_conditions, short_form
from holdfast.records import BROKEN_COLUMNS, Store

Model = str | nn.Module | Classifier | Callable[[torch.Tensor], torch.Tensor]
_AFTER = re.compile(r", after=\[[^]]*\]")
_AFTER_AND_SOURCE = re.compile(rf"{_AFTER.pattern}| from \S.*$")
Data = str | Dataset | tuple[Any, Any] | Iterable[Sequence[torch.Tensor]]


@dataclass(frozen=True, repr=False)
class Results:
    """What was measured.

    Attributes:
        measurements: One row a number; columns as `holdfast.records.MEASUREMENT_COLUMNS`.
        samples: Per condition, one row an image, ascending ids.
        broken: Images that could not be read: id, name, reason.
    """

    measurements: pl.DataFrame
    samples: dict[str, pl.DataFrame]
    broken: pl.DataFrame

    def __repr__(self) -> str:
        runs = ", ".join(list(self.samples)[:3]) + (", ..." if len(self.samples) > 3 else "")
        return f"Results({len(self.samples)} conditions: {runs})"

    def value(self, metric: str = "accuracy", condition: str = "clean") -> float:
        """One number; NaN where there was no data.

        Args:
            metric: Of one condition, such as accuracy or ece.
            condition: As it was typed for `measure`, or its canonical text. One eps of several
                is asked for alone: "pgd(eps=8/255)".

        Raises:
            UnknownNameError: The condition was not measured, or there is no such metric.
            BadValueError: The run failed, or the condition stands for several.
        """
        condition = _measured(condition, self.measurements["condition"].unique().to_list())
        rows = self.measurements.filter(condition=condition)
        if rows["status"][0] != "ok":
            raise BadValueError(f"measuring {condition} failed: {rows['error'][0]}")
        found = dict(rows.select("metric", "value").iter_rows())
        if metric not in found:
            raise unknown_name("metric of one condition", metric, found)
        return float(found[metric])


def _measured(typed: str, known: list[str]) -> str:
    """Find the text, among those of what was measured, that `typed` means."""
    if typed in known:
        return typed
    wanted = _canonical(typed)
    if len(wanted) == 1 and wanted[0] in known:
        return wanted[0]
    # A radius that came after smaller ones, or an attack crafted on another model.
    for leave_out in (_AFTER, _AFTER_AND_SOURCE):
        plain = {leave_out.sub("", text) for text in wanted}
        found = [text for text in known if leave_out.sub("", text) in plain]
        if len(found) > 1:
            shown = [short_form(text) for text in found] if len(wanted) > 1 else found
            raise BadValueError(
                f"{typed!r} stands for {len(found)} measured conditions: ask for one, such as "
                f"{' or '.join(sorted(shown)[:3])}"
            )
        if len(wanted) == 1 and found:
            return found[0]
    raise unknown_name("measured condition", typed, map(short_form, known))


def _canonical(typed: str) -> list[str]:
    """Texts of the conditions that `typed` stands for, but for clean; none if it is unknown."""
    try:
        groups = parse_conditions(typed)
    except HoldfastError:
        return []
    return [part.spec for group in groups for part in group.conditions if part.spec != "clean"]


def measure(  # noqa: PLR0913 - the public face; each is a keyword a person may want
    model: Model,
    data: Data,
    perturb: str | Perturbation | Iterable[str | Perturbation] = (),
    *,
    split: str | None = None,
    n: int | None = None,
    view: str | int = "model",
    seed: int = 0,
    batch_size: int | None = None,
    device: str | Sequence[str] = "auto",
    labels: str | Path | None = None,
    store: str | Path | None = None,
    until_halfwidth: float | None = None,
    transfer_from: Model | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    compile_net: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Measure how a model holds on clean and perturbed images.

    Args:
        model: Spec such as `timm:resnet50`, a module or callable that takes float images
            [B, C, H, W] in [0, 1] and gives logits [B, K], or a `Classifier`.
        data: Name of a data set (`split` must be given), a `Dataset`, a pair (images, labels)
            with images float [N, C, H, W] in [0, 1] or uint8 [N, H, W, C], or a `DataLoader`.
        perturb: Conditions such as "fog(severity=3)", "corruptions", "noise-sweep",
            "autoattack(norm=linf, eps=[2/255, 8/255])"; clean is always measured.
        split: Which split of a named data set.
        n: Measure this many images of a named set or a `Dataset`, chosen by a fixed keyed draw:
            the same for each model.
        view: At which size perturbations act; see `holdfast.measuring.view`. Images given as
            tensors are perturbed at their own size.
        seed: Keys all randomness of the perturbations.
        batch_size: Images a forward pass; None chooses by image size.
        device: cpu, cuda, mps or auto; several, as a list or with commas between, such as
            cuda:0,cuda:1, share the images.
        labels: Maps class names onto the model's outputs.
        store: Folder that keeps the runs; None keeps nothing.
        until_halfwidth: Draw images of a named set or a `Dataset` in a fixed random order until
            the 95 % interval of the accuracy is this narrow, from its middle to an end; the
            interval is a confidence sequence, which holds whenever one stops.
        transfer_from: Model on which attacks are crafted; the measured one judges them.
        precision: In which adversarial images are searched; they are confirmed in float32.
        compile_net: Compile the network that attacks search with torch.compile.
        progress: Called after each batch.

    Raises:
        HoldfastError: Any input that cannot be used; the message says what to do.
    """
    conditions = parse_conditions(perturb)
    options = Options(
        view=View(str(view)),
        seed=seed,
        batch_size=batch_size,
        until=until_halfwidth,
        precision=precision,
        compile_net=compile_net,
        progress=progress or (lambda _: None),
    )
    given = _open(data, split, labels)
    with ExitStack() as stack:
        stack.enter_context(_modes_kept(model))
        first, *others = split_devices(_joined(device))
        classifier = load_model(model, device=first)
        if transfer_from is not None:
            stack.enter_context(_modes_kept(transfer_from))
            options = replace(options, source=load_model(transfer_from, device=first))
        if isinstance(given, Dataset):
            subject = open_subject(classifier, given, options, n=n)
        elif n is not None or until_halfwidth is not None:
            what = "n" if n is not None else "until_halfwidth"
            raise BadValueError(
                f"{what} chooses from a data set; cut images given as tensors yourself"
            )
        else:
            subject = Subject(classifier.name, classifier, given)
        subject = replace(subject, replicas=tuple(replicate(classifier, d) for d in others))
        runs = plan(subject, conditions, options)
        where = store or stack.enter_context(tempfile.TemporaryDirectory())
        return _collect(subject, runs, Store(where), options)


def _joined(device: str | Sequence[str]) -> str:
    names = [device] if isinstance(device, str | torch.device) else device
    if isinstance(names, Sequence):
        return ",".join(str(name) for name in names)
    raise BadTypeError(f"device must be a text such as cpu, or a list of them, got {device!r}")


@contextmanager
def _modes_kept(model: object) -> Iterator[None]:
    """Give a module back in the mode it came in: it may be in the middle of its training."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        yield
    finally:
        _set_modes(modules, modes)


def _set_modes(modules: list[nn.Module], modes: list[bool]) -> None:
    for module, mode in zip(modules, modes, strict=True):
        module.training = mode


def _collect(subject: Subject, runs: list[Run], store: Store, options: Options) -> Results:
    frames = list(measure_runs(subject, runs, store, options))
    ok = [run for run in runs if store.finished(run.id)]
    return Results(
        measurements=pl.concat(frames),
        samples={run.spec.condition: store.samples(run.id) for run in ok},
        broken=store.broken(ok[0].id) if ok else pl.DataFrame(schema=BROKEN_COLUMNS),
    )


def _open(data: Data, split: str | None, labels: str | Path | None) -> Dataset | Stream:
    if isinstance(data, str):
        if split is None:
            raise BadValueError(f"which split of {data}? pass split='test' or another")
        return open_dataset(data, split=split, labels=labels)
    if isinstance(data, tuple) and len(data) == 2:
        images, targets = (as_tensor(part) for part in data)
        return TensorStream(images, targets, name="arrays", split=split or "given")
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Iterable):
        return LoaderStream(data, name="loader", split=split or "given")
    raise BadTypeError(
        "data must be a name, a Dataset, a pair (images, labels) or a DataLoader, got "
        f"{type(data).__name__}"
    )
