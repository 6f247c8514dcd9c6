"""What the sections draw from: a store's subjects, grouped by the images they were measured on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from holdfast.core.errors import StoreError
from holdfast.metrics.intervals import Estimate
from holdfast.records import BROKEN_COLUMNS, PICTURE_COLUMNS, Store
from holdfast.report.conditions import CLEAN, Condition
from holdfast.report.figures import Style, style
from holdfast.report.subjects import Subject, read_subjects

MOST_SETTINGS = 8  # sets of images that get figures of their own
MOST_PANELS = 6  # models with a reliability diagram
MOST_CONDITIONS = 26  # conditions in the menus of figures that read every sample
_DIGEST_SHOWN = 8  # hex digits, enough to tell a few apart


@dataclass(frozen=True)
class Member:
    """A subject with its name in the page: the model's, and what tells it from its namesakes."""

    subject: Subject
    label: str
    style: Style


@dataclass(frozen=True)
class Setting:
    """Subjects that saw the same images and can be compared."""

    number: int
    title: str
    members: Sequence[Member]

    def measured(self, test: Callable[[Subject], object]) -> list[Member]:
        """Members that have what `test` looks for."""
        return [member for member in self.members if test(member.subject)]

    def conditions(self) -> list[Condition]:
        """Conditions of any member: clean, noise, corruptions, attacks, the rest."""
        return self._conditions

    @cached_property
    def _conditions(self) -> list[Condition]:
        found = {c.spec: c for m in self.members for c in m.subject.conditions.values()}
        return sorted(found.values(), key=lambda condition: condition.order)


class Evidence:
    """A store, read once.

    Args:
        store: The store.
        baseline: Whose errors the mean corruption error is divided by; None for none.
    """

    def __init__(self, store: Store, baseline: str | None = None) -> None:
        self.store = store
        self.baseline = baseline
        self.measurements = store.measurements()
        self.subjects = read_subjects(self.measurements)

    @cached_property
    def members(self) -> list[Member]:
        """All subjects in order, with their labels; equal labels have equal styles."""
        labels = [_label(subject, self.subjects) for subject in self.subjects]
        places = {label: place for place, label in enumerate(sorted(set(labels)))}
        return [
            Member(subject, label, style(places[label]))
            for subject, label in zip(self.subjects, labels, strict=True)
        ]

    @cached_property
    def settings(self) -> list[Setting]:
        """Groups of comparable subjects with at least one number, largest first."""
        groups: dict[tuple[str, ...], list[Member]] = {}
        for member in self.members:
            if member.subject.estimates:
                groups.setdefault(_images(member.subject), []).append(member)
        ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
        names = {key: _setting_title(key, groups) for key in groups}
        return [Setting(n, names[key], members) for n, (key, members) in enumerate(ordered)]

    @property
    def shown(self) -> list[Setting]:
        """Settings that get figures; the tables have all."""
        return self.settings[:MOST_SETTINGS]

    @cached_property
    def failures(self) -> pl.DataFrame:
        """One row a run that failed or was skipped."""
        frame = self.measurements.filter(pl.col("status") != "ok")
        return frame.unique("run_id", keep="first", maintain_order=True)

    def has_samples(self, subject: Subject, condition: str) -> bool:
        """Whether the run behind a condition kept its samples."""
        run = subject.runs.get(condition)
        return run is not None and (self.store.path / run / "samples.parquet").is_file()

    def samples(self, subject: Subject, condition: str) -> pl.DataFrame | None:
        """Per-sample rows behind a condition; None where the run kept none."""
        if not self.has_samples(subject, condition):
            return None
        return self.store.samples(subject.runs[condition])

    def pictures(self, subject: Subject, condition: str) -> pl.DataFrame:
        """Pictures of a few samples behind a condition; empty where the run kept none."""
        run = subject.runs.get(condition)
        return pl.DataFrame(schema=PICTURE_COLUMNS) if run is None else self.store.pictures(run)

    def broken(self, setting: Setting) -> pl.DataFrame:
        """Images of a setting that could not be read, from the run that met the most."""
        runs = {run for member in setting.members for run in member.subject.runs.values()}
        rows = self.measurements.filter(pl.col("run_id").is_in(list(runs)), pl.col("broken") > 0)
        worst = rows.sort("broken", "run_id", descending=[True, False]).head(1)["run_id"]
        if not len(worst):
            return pl.DataFrame(schema=BROKEN_COLUMNS)
        return self.store.broken(worst[0])


def detailed_conditions(setting: Setting, members: Iterable[Member]) -> list[Condition]:
    """Conditions for the figures that read every sample: one severity of each corruption.

    That is severity 3, or the strongest measured where 3 is not; clean, the noise sweep and
    other conditions are there too, up to `MOST_CONDITIONS`.
    """
    runs = {spec for member in members for spec in member.subject.runs}
    listed = [condition for condition in setting.conditions() if condition.spec in runs]
    severities: dict[str, list[int]] = {}
    for condition in listed:
        if condition.severity is not None:
            severities.setdefault(condition.name, []).append(condition.severity)
    chosen = [
        condition
        for condition in listed
        if condition.severity is None
        or condition.severity
        == (3 if 3 in severities[condition.name] else max(severities[condition.name]))
    ]
    return chosen[:MOST_CONDITIONS]


def require_runs(evidence: Evidence) -> None:
    """Refuse an empty store.

    Raises:
        StoreError: The store holds no run.
    """
    if not len(evidence.measurements):
        raise StoreError(
            f"the store {evidence.store.path} holds no finished run; "
            "fill it with `holdfast measure --store` first"
        )


def ranked(
    members: Iterable[Member], score: Callable[[Subject], Estimate | None]
) -> list[tuple[Member, Estimate]]:
    """Members that have the score, highest first; equal scores by label."""
    found = [(member, score(member.subject)) for member in members]
    known = [(member, e) for member, e in found if e is not None and not math.isnan(e.value)]
    return sorted(known, key=lambda pair: (-pair[1].value, pair[0].label))


def clean_accuracy(subject: Subject) -> Estimate | None:
    """Accuracy on clean images."""
    return subject.estimate(CLEAN, "accuracy")


def _images(subject: Subject) -> tuple[str, ...]:
    return subject.data, subject.split, subject.view, subject.data_digest


def _label(subject: Subject, subjects: Sequence[Subject]) -> str:
    namesakes = [other for other in subjects if other.model == subject.model]
    label = subject.model
    if len({other.weights_digest for other in namesakes}) > 1:
        label += f" [{subject.weights_digest[:_DIGEST_SHOWN] or 'weights unknown'}]"
    if len({other.seed for other in namesakes}) > 1:
        label += f" (seed {subject.seed})"
    return label


def _setting_title(key: tuple[str, ...], groups: Iterable[tuple[str, ...]]) -> str:
    data, split, view, digest = key
    title = f"{data}, {split} split, view {view}"
    if sum(other[:3] == key[:3] for other in groups) > 1:
        title += f", images {digest[:_DIGEST_SHOWN]}"
    return title
