"""`holdfast measure`: how robust is this model?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from holdfast.cli.console import guarded, out, say
from holdfast.cli.jsonlines import Emit, emitting
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    import polars as pl

    from holdfast.data import Dataset
    from holdfast.measuring import Options, Run, Subject
    from holdfast.models import Classifier
    from holdfast.perturb.base import Perturbation
    from holdfast.records import Store

_WEIGHTS = "Weights file, one a --model in their order: .safetensors, .pth, .pt, .th, .model."
_PERTURB = (
    "Condition or set, repeatable: corruptions, noise-sweep, 'fog(severity=3)', "
    "'gaussian_noise(sigma=0.1)', 'autoattack(norm=linf, eps=8/255)', 'pgd(eps=[2/255, 8/255])'; "
    "a corruption without a severity means all five. Clean is always measured. "
    "`holdfast list corruptions` and `holdfast list attacks` show all."
)
_DATA = (
    "Data set (`holdfast list data`), or folder:DIR (one folder a class, or wnid_name files with "
    "--labels), npz:FILE (x uint8 NHWC, y), parquet:FILE (image, label)."
)
_LABELS = (
    "Maps class names onto the model's outputs: 'imagenet', a file with one name a line in the "
    "order of the outputs, or a CSV name,index."
)
_VIEW = (
    "Where perturbations act: model (after the model's own resize and crop), a size such as 224, "
    "or native (the original pixels)."
)


class Subjects(Protocol):
    """A known number of subjects, which may be gone through again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Subject]: ...


@dataclass(frozen=True)
class Request:
    """The models of one command, with what belongs to each."""

    model: str
    weights: Path | None
    part: str
    name: str | None


Models = Annotated[
    list[str], typer.Option(help="timm:NAME, torchvision:NAME or FILE.py:FUNCTION; repeatable.")
]
Data = Annotated[str, typer.Option(help=_DATA)]
Perturb = Annotated[list[str] | None, typer.Option(help=_PERTURB)]
Weights = Annotated[list[Path] | None, typer.Option(help=_WEIGHTS)]
WeightsPart = Annotated[str, typer.Option(help="all, or backbone: leave the head fresh.")]
Names = Annotated[list[str] | None, typer.Option(help="Name in the records, one a --model.")]
Split = Annotated[str, typer.Option(help="Split of the data set.")]
LabelMap = Annotated[str | None, typer.Option(help=_LABELS)]
Count = Annotated[
    int | None, typer.Option("--n", min=1, help="Measure N images, the same ones for each model.")
]
ViewName = Annotated[str, typer.Option(help=_VIEW)]
Seed = Annotated[int, typer.Option(help="Keys the randomness of perturbations.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images a forward pass; by image size if not given.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps; cuda:0,cuda:1 share the images.")]
Place = Annotated[Path, typer.Option(help="Folder that keeps the runs.")]
UntilHalfwidth = Annotated[
    float | None,
    typer.Option(
        help="Draw images in a fixed random order until the accuracy's 95 % interval is this "
        "narrow, from its middle to an end, such as 0.01."
    ),
]
TransferFrom = Annotated[
    str | None, typer.Option(help="Craft attacks on this model; the measured one judges them.")
]
TransferWeights = Annotated[Path | None, typer.Option(help="Weights file of --transfer-from.")]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16 or float16: in which attacks search. What they find is confirmed "
        "in float32."
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the network that attacks search.")
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print measurements as JSON lines, and nothing else.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be measured, and measure nothing.")
]


@guarded
def measure(
    model: Models,
    data: Data,
    perturb: Perturb = None,
    weights: Weights = None,
    weights_part: WeightsPart = "all",
    name: Names = None,
    split: Split = "test",
    labels: LabelMap = None,
    n: Count = None,
    view: ViewName = "model",
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    store: Place = Path("holdfast-store"),
    until_halfwidth: UntilHalfwidth = None,
    transfer_from: TransferFrom = None,
    transfer_weights: TransferWeights = None,
    precision: Precision = "float32",
    compile_net: Compile = False,
    json_lines: JsonLines = False,
    dry_run: DryRun = False,
) -> None:
    """Measure models on clean, corrupted and attacked images; keep each number with its interval.

    Repeating a command computes only what the store lacks; a killed one goes on where it was.

    Example: holdfast measure --model timm:resnet50 --data folder:photos --labels imagenet
    --perturb corruptions --perturb 'autoattack(norm=linf, eps=[1/255, 4/255])'
    """
    from holdfast.data import choose, open_dataset
    from holdfast.measuring import Options, View
    from holdfast.perturb.conditions import parse_conditions
    from holdfast.records import Store

    conditions = parse_conditions(perturb or [])
    options = Options(
        view=View(view),
        seed=seed,
        batch_size=batch_size,
        until=until_halfwidth,
        precision=precision,  # type: ignore[arg-type]  # `Options` checks it
        compile_net=compile_net,
    )
    requests = _requests(model, weights or [], name or [], weights_part)
    Store.check_place(store)  # before models are loaded
    with emitting(json_lines=json_lines) as emit:
        dataset = open_dataset(data, split=split, labels=labels)
        if n is not None and len(choose(len(dataset), n)) < n:
            say(f"{data} has only {len(dataset)} images; measuring all of them")
        options = replace(options, source=_source(transfer_from, transfer_weights, device))
        subjects = Opener(requests, dataset, options, n, device)
        if dry_run:
            _show_plan(subjects, conditions, store, options, emit)
            return
        frame = run_all(subjects, conditions, Store(store), options, emit=emit)
        _finish(frame, store, emit)


def _source(model: str | None, weights: Path | None, device: str) -> Classifier | None:
    from holdfast.measuring.sharding import split_devices
    from holdfast.models import load_model

    if model is None:
        if weights is not None:
            raise BadValueError(
                "--transfer-weights needs --transfer-from, the model they belong to"
            )
        return None
    return load_model(model, weights=weights, device=split_devices(device)[0])


def _finish(frame: pl.DataFrame, store: Path, emit: Emit | None) -> None:
    from holdfast.cli.show import print_summary
    from holdfast.report import derived

    if emit is not None:
        emit(derived(frame))
    else:
        print_summary(frame)
        out.print(f"page: holdfast report {store} -o DIR", style="dim", markup=False)
    failed = frame.filter(status="failed")["run_id"].n_unique()
    if failed:
        say(f"{failed} of {frame['run_id'].n_unique()} runs failed")
        raise typer.Exit(1)


def _requests(models: list[str], weights: list[Path], names: list[str], part: str) -> list[Request]:
    if part not in ("all", "backbone"):
        raise BadValueError(f"--weights-part must be all or backbone, got {part!r}")
    for option, given in (("--weights", weights), ("--name", names)):
        if given and len(given) != len(models):
            raise BadValueError(
                f"{len(models)} --model but {len(given)} {option}: give one for each, in order"
            )
    paths: list[Any] = list(weights) or [None] * len(models)
    titles: list[Any] = list(names) or [None] * len(models)
    return [Request(m, w, part, t) for m, w, t in zip(models, paths, titles, strict=True)]


@dataclass(frozen=True)
class Opener:
    """Opens the models of a command one after another, so that one is in memory at a time."""

    requests: list[Request]
    dataset: Dataset
    options: Options
    n: int | None
    device: str

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Subject]:
        from holdfast.measuring import open_subject
        from holdfast.measuring.sharding import replicate, split_devices
        from holdfast.models import load_model

        first, *others = split_devices(self.device)
        for request in self.requests:
            classifier = load_model(
                request.model,
                weights=request.weights,
                weights_part=request.part,  # type: ignore[arg-type]  # `_requests` checked it
                device=first,
            )
            name = request.name or _title(request)
            subject = open_subject(classifier, self.dataset, self.options, n=self.n, name=name)
            yield replace(subject, replicas=tuple(replicate(classifier, d) for d in others))


def _title(request: Request) -> str:
    """Name in the records: what was typed, without the folders of a file."""
    path, separator, function = request.model.rpartition(".py:")
    name = f"{Path(path).name}{separator}{function}"
    return name if request.weights is None else f"{name}@{request.weights.stem}"


def run_all(
    subjects: Subjects,
    conditions: list[Perturbation],
    store: Store,
    options: Options,
    *,
    emit: Emit | None = None,
) -> pl.DataFrame:
    """Measure all conditions of all subjects, showing progress; gives back all rows."""
    import polars as pl

    from holdfast.cli.progress import kind_of, watching
    from holdfast.measuring import measure_runs, plan

    if len(subjects) > 1:
        for subject in subjects:  # each must be usable before hours go into the first
            plan(subject, conditions, options)
    frames = []
    kinds = [kind_of(part.spec, part.kind) for group in conditions for part in group.conditions]
    with watching(len(subjects) * kinds) as watcher:
        watched = replace(options, progress=watcher.step)
        for subject in subjects:
            runs = plan(subject, conditions, options)
            stored = {run.id for run in runs if store.finished(run.id)}
            for rows in measure_runs(subject, runs, store, watched):
                # A stored run may have been measured under another name.
                named = rows.with_columns(model=pl.lit(subject.model))
                known = rows["run_id"][0] in stored
                watcher.finished(named, len(subject.stream.ids), stored=known)
                frames.append(named)
                if emit is not None:
                    emit(named.iter_rows(named=True))
    return pl.concat(frames)


def _show_plan(
    subjects: Subjects,
    conditions: list[Perturbation],
    path: Path,
    options: Options,
    emit: Emit | None,
) -> None:
    from holdfast.measuring import plan
    from holdfast.records import Store

    store = Store.existing(path) if path.exists() and any(path.iterdir()) else None
    passes = 0
    for subject in subjects:
        count = len(subject.stream.ids)
        for run in plan(subject, conditions, options):
            stored = store is not None and store.finished(run.id)
            passes += 0 if stored else count * passes_an_image(run, subject.classifier.classes)
            state = "stored" if stored else "to do"
            what = {"model": subject.model, "condition": run.spec.condition, "count": count}
            if emit is not None:
                emit([{"status": state, **what}])
            else:
                out.print(f"{state}  {' '.join(map(str, what.values()))} images", markup=False)
    if emit is None:
        out.print(f"at most {passes:,} forward passes to do")


def passes_an_image(run: Run, classes: int) -> int:
    """Forward passes that an image may need in a run; those of an image that stands, for attacks.

    Radii that are tried first count again for each larger one, as if they were not in the store.
    """
    from holdfast.perturb.attacks.run import AttackRun

    attack = run.perturbation
    if not isinstance(attack, AttackRun):
        return 1
    return 1 + sum(attack.budgets(classes)) * len(attack.eps)
