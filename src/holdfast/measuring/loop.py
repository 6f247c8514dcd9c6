"""The only evaluation loop: model x data x perturbation -> records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
import torch

from holdfast.core.errors import BadValueError, ChangedInputError, HoldfastError, StoreError
from holdfast.core.identity import digest_json
from holdfast.core.version import VERSION
from holdfast.data import Dataset, OpenClasses, choose, shuffled
from holdfast.measuring.flow import Earlier, PartFlow
from holdfast.measuring.options import Options, Progress
from holdfast.measuring.scores import RunScores
from holdfast.measuring.seeing import Seeing
from holdfast.measuring.sharding import Replica, run_sharded
from holdfast.measuring.stopping import Stopping, sequence_of
from holdfast.measuring.stream import DatasetStream, Stream
from holdfast.metrics import median_norm, summarize
from holdfast.models import Classifier
from holdfast.perturb.base import Perturbation
from holdfast.records import SAMPLE_COLUMNS, Measurement, RunBuilder, RunSpec, Store, run_id

_SMALL_BATCH = 256  # images up to 64 px
_LARGE_BATCH = 64  # above, on an accelerator
_CPU_BATCH = 16  # above, where activations of more images leave the caches
_DRAWN_PART = 64  # images between two looks at the interval, where it decides when to stop
_CONSTANT_FROM = 20  # images from which one prediction for all is worth a flag


@dataclass(frozen=True)
class Subject:
    """What is measured on what."""

    model: str  # name in the records
    classifier: Classifier
    stream: Stream
    replicas: tuple[Classifier, ...] = ()  # the same model on further devices

    def check(self) -> None:
        """Refuse data whose classes are not the model's.

        Raises:
            BadValueError: The counts differ.
        """
        names, count = self.stream.classes, self.classifier.classes
        lowest, highest = self.stream.label_range or (0, 0)
        if lowest < 0 or highest >= count:
            raise BadValueError(
                f"{self.model} gives {count} classes, so labels must be 0..{count - 1}, "
                f"got {lowest}..{highest}"
            )
        if names is None or len(names) == count:
            return
        if isinstance(names, OpenClasses) and len(names) < count:
            return
        raise BadValueError(
            f"{self.model} gives {count} classes, but {self.stream.name} has "
            f"{len(names)} ({', '.join(names[:3])}, ...): name a model for these classes, or map "
            "them onto the model's outputs with --labels (a file with one class name a line, in "
            "the order of the outputs, or 'imagenet')"
        )


def open_subject(
    classifier: Classifier,
    dataset: Dataset,
    options: Options,
    *,
    n: int | None = None,
    name: str | None = None,
) -> Subject:
    """Pair a classifier with a data set, or with the `n` images of it that are always chosen."""
    prepare = options.view.prepare(classifier)
    if options.until is not None:
        stream = DatasetStream(dataset, prepare, shuffled(len(dataset), n), part=_DRAWN_PART)
    else:
        stream = DatasetStream(dataset, prepare, None if n is None else choose(len(dataset), n))
    return Subject(name or classifier.name, classifier, stream)


@dataclass(frozen=True)
class Run:
    """One planned run.

    Attributes:
        id: Digest of the spec.
        spec: All that decides its numbers.
        perturbation: Its condition.
        group: What is run to measure it; several eps of an attack are one.
    """

    id: str
    spec: RunSpec
    perturbation: Perturbation
    group: Perturbation


def plan(subject: Subject, conditions: Sequence[Perturbation], options: Options) -> list[Run]:
    """Runs for each condition, in order; the ids say which are stored already.

    A condition that comes twice, as a radius of two curves may, is planned where it comes first.
    """
    subject.check()
    if options.source is not None and options.source.classes != subject.classifier.classes:
        raise BadValueError(
            f"{options.source.name}, on which attacks are to be crafted, gives "
            f"{options.source.classes} classes, and {subject.model} gives "
            f"{subject.classifier.classes}: transfer between models of the same classes"
        )
    digest = subject.stream.digest()
    runs: dict[str, Run] = {}
    for group in conditions:
        if options.source is not None:
            group = group.crafted_on(_source_name(options.source))  # noqa: PLW2901
        for condition in group.conditions:
            spec = RunSpec(
                model=subject.classifier.identity,
                weights_digest=subject.classifier.digest,
                source_digest=subject.classifier.source_digest,
                data_digest=digest,
                split=subject.stream.split,
                view=options.view.name,
                condition=condition.spec,
                seed=options.seed,
                search=_searched(condition, options),
                until=options.until,
            )
            name = run_id(spec)
            runs.setdefault(name, Run(name, spec, condition, group))
    return list(runs.values())


def _searched(condition: Perturbation, options: Options) -> str | None:
    searches = condition.kind == "attack" and options.precision != "float32"
    return options.precision if searches else None


def _source_name(source: Classifier) -> str:
    """Name of a model that attacks are crafted on; its weights and code are part of it."""
    told = digest_json([source.identity, source.digest, source.source_digest])
    return f"{source.name}@{told[:8]}"


def measure_runs(
    subject: Subject, runs: Sequence[Run], store: Store, options: Options
) -> Iterator[pl.DataFrame]:
    """Yield the rows of each run, measuring what the store lacks.

    A run that another process is measuring is left for last and then waited for. A run whose
    model fails is a row with status failed; the others go on. What had been finished of it stays
    in the store, so that repeating the command goes on from there.
    """
    postponed = []
    for _, same in itertools.groupby(runs, key=lambda run: id(run.group)):
        group = list(same)
        if _measure_group(subject, group, store, options, wait=False):
            yield from (store.measurements([run.id]) for run in group)
        else:
            postponed.append(group)
    for group in postponed:
        _measure_group(subject, group, store, options, wait=True)
        yield from (store.measurements([run.id]) for run in group)


def _measure_group(
    subject: Subject, group: list[Run], store: Store, options: Options, *, wait: bool
) -> bool:
    """Measure what the store lacks of a group; False where another process is at it."""
    with ExitStack() as stack:
        missing, builders = [], []
        for run in group:
            if store.finished(run.id):
                continue
            builder = stack.enter_context(store.building(run.id, wait=wait))
            if builder is None:
                return False
            if not store.finished(run.id):
                missing.append(run)
                builders.append(builder)
        if missing:
            _build(subject, missing, builders, options)
    return True


def _build(subject: Subject, runs: list[Run], builders: list[RunBuilder], options: Options) -> None:
    failure = None
    try:
        scores = _score(subject, runs, builders, options)
    except (StoreError, ChangedInputError):
        raise
    except HoldfastError as error:
        failure = str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the model is foreign code
        failure = f"{type(error).__name__}: {error}"
    if failure is not None:
        for run, builder in zip(runs, builders, strict=True):
            builder.finish([_row(subject, run, options, status="failed", error=failure)])
        return
    for run, builder, found in zip(runs, builders, scores, strict=True):
        rows = _rows(subject, run, found, options)
        builder.finish(rows, found.samples, found.broken, found.pictures.table())


def _score(
    subject: Subject, runs: list[Run], builders: list[RunBuilder], options: Options
) -> list[RunScores]:
    """Run what measures all of `runs`, and collect each one's scores."""
    classifier, stream = subject.classifier, subject.stream
    perturbation = _only(runs).bind(stream.ids).sized(options.batch_size)
    earlier = Earlier.of(builders, stream.cut)
    stopping = Stopping(builders, stream.cut, len(stream.ids), options.until)
    seen = [Seeing(replica, options) for replica in (classifier, *subject.replicas)]
    flow = PartFlow(
        stream.parts(options.batch_size or _batch_size(classifier), earlier.parts),
        builders,
        classifier,
        earlier,
        keeping=perturbation.slow,
        enough=stopping.enough,
    )
    if not stopping.enough():
        _drain(perturbation, flow, seen, subject, options)
    result = []
    for run, builder, prefix in zip(runs, builders, stopping.prefixes, strict=True):
        scores = RunScores(builder.all_arrays(stream.cut, prefix))
        # Images that are drawn come in parts of that size: see `open_subject`.
        expected = stream.ids if prefix is None else stream.ids[: prefix * _DRAWN_PART]
        if not _complete(scores, expected):
            for each in builders:
                each.drop()  # else the next try would end here again
            raise RuntimeError(_incomplete(scores, expected))
        scores.flags |= classifier.flags.union(flow.flags, *(see.flags for see in seen))
        scores.name(run.perturbation.names)
        result.append(scores)
    return result


def _complete(scores: RunScores, expected: Sequence[int]) -> bool:
    """Whether there is one outcome of each image, less those that could not be read."""
    found = [*scores.samples["id"], *scores.broken["id"]]
    return sorted(found) == sorted(expected)


def _incomplete(scores: RunScores, expected: Sequence[int]) -> str:
    found = [*scores.samples["id"], *scores.broken["id"]]
    lost = sorted(set(expected) - set(found))
    twice = len(found) - len(set(found))
    return (
        f"expected one outcome of each of {len(expected)} images, got {len(found)}: {len(lost)} "
        f"are missing, such as {lost[:3]}, and {twice} came twice; what was kept of this run is "
        "dropped, so repeat the command"
    )


def _only(runs: list[Run]) -> Perturbation:
    """What measures just these runs of a group: the others are in the store already."""
    group = runs[0].group
    if len(runs) == len(group.conditions):
        return group
    return group.only([run.perturbation for run in runs])


def _drain(
    perturbation: Perturbation,
    flow: PartFlow,
    seen: Sequence[Seeing],
    subject: Subject,
    options: Options,
) -> None:
    """Run to the end of the stream, or until there is enough."""
    total, count = len(subject.stream.ids), len(perturbation.conditions)
    finished = float(flow.finished)
    replicas = [Replica(see, see.device) for see in seen]
    outcomes = run_sharded(perturbation, flow.batches(), replicas, options.seed)
    with closing(outcomes):
        for outcome in outcomes:
            flow.flags.update(*(see.flags for see in seen))  # kept with what is flushed
            flow.add(outcome)
            finished += len(outcome.ids) / count
            options.progress(Progress(perturbation.spec, round(finished), total))
            if flow.ended:
                break
    flow.check()


def _rows(subject: Subject, run: Run, scores: RunScores, options: Options) -> list[Measurement]:
    samples = scores.samples
    flags = set(scores.flags)
    total = len(subject.stream.ids)
    stopped = options.until is not None and len(samples) + len(scores.broken) < total
    if len(scores.broken):
        flags.add("broken_images")
    if samples.is_empty():
        flags.add("no_images")
    if len(samples) >= _CONSTANT_FROM and samples["prediction"].n_unique() == 1:
        flags.add("constant_prediction")
    if stopped:
        flags.add("optional_stopping")
    if not samples.is_empty():
        named = {name: samples[name].to_numpy() for name in samples.columns}
        flags |= run.perturbation.judge(named)
    shared = {
        "flags": tuple(sorted(flags)),
        "broken": len(scores.broken),
        "forward_evals": int(samples["forward_evals"].sum()),
        "gradient_evals": int(samples["gradient_evals"].sum()),
        "seconds": scores.seconds,
    }
    columns = {name: samples[name].to_numpy() for name in SAMPLE_COLUMNS}
    estimates = dict(summarize(columns, classwise=scores.classwise))
    if stopped:  # else all are measured, and the interval is the usual one
        low, high = sequence_of(columns["correct"], total)
        estimates["accuracy"] = replace(estimates["accuracy"], low=low, high=high)
    told = run.perturbation.columns()
    if told.get("norm") and told["eps"] is None:  # an attack that seeks the smallest
        estimates["median_norm"] = median_norm(samples["norm"].to_numpy())
    return [
        _row(subject, run, options, status="ok", metric=name, **asdict(found), **shared)
        for name, found in estimates.items()
    ]


def _row(subject: Subject, run: Run, options: Options, **measured: Any) -> Measurement:
    known = {
        "study": options.study,
        "run_id": run.id,
        "model": subject.model,
        "weights_digest": run.spec.weights_digest,
        "data": subject.stream.name,
        "data_digest": run.spec.data_digest,
        "split": run.spec.split,
        "view": run.spec.view,
        "condition": run.spec.condition,
        "family": run.perturbation.kind,
        "metric": "accuracy",
        "device": str(subject.classifier.device),
        "dtype": str(subject.classifier.dtype or torch.float32).removeprefix("torch."),
        "seed": run.spec.seed,
        "holdfast_version": VERSION,
        "torch_version": torch.__version__,
    }
    return Measurement(**{**known, **run.perturbation.columns(), **measured})


def _batch_size(classifier: Classifier) -> int:
    size = classifier.input_size
    if size is None or max(size) <= 64:
        return _SMALL_BATCH
    return _CPU_BATCH if classifier.device.type == "cpu" else _LARGE_BATCH
