"""Advice on one model: each change predicted, made, and measured beside the original."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.core.wording import shortlist
from holdfast.data import Dataset
from holdfast.explain.advice.candidates import default_changes, view_of
from holdfast.explain.advice.predicting import (
    Curve,
    Displacements,
    features,
    predicted_change,
)
from holdfast.explain.advice.tuned import FineTuning
from holdfast.explain.advice.verdict import ordered, verdict
from holdfast.explain.observations import CLEAN
from holdfast.measuring import Options, Subject, View, measure_runs, open_subject, plan
from holdfast.metrics.accuracy import proportion
from holdfast.metrics.pairing import paired_difference
from holdfast.models import Classifier, load_model
from holdfast.models.sources import CHANGED
from holdfast.models.surgery import Change, parse_changes
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import Store
from holdfast.records.explanations import Advice, Advised, Consequence, Value

_STUDY = "advice"
_NOISE = "gaussian_noise(sigma={:g})"
_PARTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of sigma, at which the original is measured
_PROBED = 32  # pictures that noise is sent through


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        model: Spec of the model.
        dataset: Images to measure on.
        weights: File of its weights.
        n: How many images; None takes all.
        sigma: Deviation of the Gaussian noise that advice is about.
        perturb: Further conditions.
        changes: Texts of changes; none takes the usual ones.
        view: At which size noise is added; a lower resolution is measured at `native`.
        seed: Of all noise.
        device: cpu, cuda, mps or auto.
        fine_tuning: Of both, before they are measured; None measures them as they are.
        clean_loss: Loss of clean accuracy that is acceptable, a fraction.
        gain: Gain of accuracy under noise that is worth it, a fraction.
        folder: Keeps runs and trainings, so that the same question goes on; None keeps nothing.
    """

    model: str
    dataset: Dataset
    weights: Path | None = None
    n: int | None = None
    sigma: float = 0.12
    perturb: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    view: str = "model"
    seed: int = 0
    device: str = "auto"
    fine_tuning: FineTuning | None = None
    clean_loss: float = 0.01
    gain: float = 0.02
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and 0 < self.sigma <= 1):
            raise BadValueError(f"sigma must be in (0, 1], pixels of [0, 1], got {self.sigma}")
        if CHANGED in self.model:
            raise BadValueError(
                f"{self.model} is a changed model: ask about the original, and name changes as "
                "--change"
            )

    @property
    def noise(self) -> str:
        """Text of the condition that advice is about."""
        return _NOISE.format(self.sigma)


@dataclass(frozen=True)
class Step:
    """What is being done, in words, and how much of it."""

    what: str
    done: int = 0
    total: int = 0


def advise(question: Question, *, progress: Any = None) -> Iterator[Step | Advice]:
    """Predict, make and measure each change; steps come first, the advice last.

    Args:
        question: What is asked.
        progress: As that of `holdfast.measuring.Options`, called while images are measured.

    Raises:
        HoldfastError: Input that cannot be used. A change that fails is a row of the advice.
    """
    with ExitStack() as stack:
        folder = question.folder or Path(stack.enter_context(TemporaryDirectory()))
        adviser = _Adviser(question, folder, progress or (lambda _: None))
        yield from adviser.run()


class _Adviser:
    def __init__(self, question: Question, folder: Path, progress: Any) -> None:
        self.question = question
        self.folder = folder
        self.store = Store(folder / "store")
        self.progress = progress
        self.conditions = [*dict.fromkeys([CLEAN, question.noise, *_specs(question.perturb)])]
        self.flags: list[str] = []
        self.references: dict[str, Displacements] = {}  # of the original, by view
        self.broken: dict[str, None] = {}  # models that gave logits that are not finite

    def run(self) -> Iterator[Step | Advice]:
        question = self.question
        yield Step(f"loading {question.model}")
        bare = load_model(question.model, weights=question.weights, device=question.device)
        asked_for = parse_changes(question.changes) or default_changes(bare)
        changes = list({one.spec: one for one in asked_for}.values())
        if question.fine_tuning is not None:
            yield from self._tune(question.model)
        views = dict.fromkeys([question.view, *(view_of(one, question.view) for one in changes)])
        originals: dict[str, dict[str, pl.DataFrame]] = {}
        curves: dict[str, Curve] = {}
        self._doubt(bare)
        if question.fine_tuning is not None:
            yield Step(f"measuring {question.model} before its fine-tuning")
            untuned = self._measured(self._subject(bare, question.view), question.view, [CLEAN])
        for view in views:
            yield Step(f"measuring {question.model}, noise at {view} size")
            subject = self._subject(self._original(bare), view)
            sigmas = [question.sigma * part for part in _PARTS]
            asked = [*self.conditions, *(_NOISE.format(sigma) for sigma in sigmas)]
            originals[view] = self._measured(subject, view, asked)
            curves[view] = _curve(originals[view], sigmas)
        advised: list[Advised] = []
        for place, change in enumerate(changes, 1):
            yield Step(change.spec, place, len(changes))
            try:
                yield from self._tune_changed(change, bare)
                advised.append(self._one(change, bare, originals, curves))
            except HoldfastError as error:
                advised.append(_failed(change, question.model, str(error)))
        if question.fine_tuning is not None:
            self._doubt_tuning(untuned[CLEAN], originals[question.view][CLEAN])
        self._doubt_predictions(advised)
        if self.broken:
            told = "Logits that are not finite, which count as wrong"
            self.flags.append(f"{told}: {shortlist(list(self.broken))}.")
        yield self._advice(advised, curves[question.view], originals[question.view])

    def _doubt(self, bare: Classifier) -> None:
        if "untrained" in bare.flags:
            self.flags.append(
                f"{self.question.model} is untrained: nothing that changes it can be judged."
            )

    def _doubt_tuning(self, before: pl.DataFrame, after: pl.DataFrame) -> None:
        lost = paired_difference(before["correct"].to_numpy(), after["correct"].to_numpy())
        old = 100 * float(before["correct"].mean() or 0.0)  # type: ignore[arg-type]
        words = "Fine-tuning took the original from"
        if lost.high < 0:
            self.flags.append(
                f"{words} {old:.1f} % to {old + 100 * lost.value:.1f} % on clean images: distrust "
                "what is compared with it."
            )

    def _doubt_predictions(self, advised: Sequence[Advised]) -> None:
        """Say how many predictions missed, so that nobody takes them for more."""
        both = [
            part
            for one in advised
            for part in one.consequences
            if part.predicted.low < part.predicted.high
        ]
        missed = [
            part
            for part in both
            if not part.measured.low <= part.predicted.value <= part.measured.high
        ]
        if missed:
            self.flags.append(
                f"{len(missed)} of {len(both)} predictions lie outside of the measured intervals."
            )

    def _tune(self, model: str) -> Iterator[Step]:
        tuning = self.question.fine_tuning
        if tuning is None:
            return
        told = Step(f"fine-tuning {model}", 0, tuning.epochs)
        yield told
        for event in tuning.train(model, self.folder / "trainings", self.question.device):
            epoch = getattr(event, "epoch", None)
            if epoch is not None and int(epoch) != told.done:
                told = Step(told.what, int(epoch), tuning.epochs)
                yield told

    def _tune_changed(self, change: Change, bare: Classifier) -> Iterator[Step]:
        if not change.applies(bare):
            yield from self._tune(self._spec(change))

    def _original(self, bare: Classifier) -> Classifier:
        tuning = self.question.fine_tuning
        if tuning is None:
            return bare
        folder = self.folder / "trainings"
        return tuning.load(self.question.model, folder, self.question.device)

    def _changed(self, change: Change, bare: Classifier) -> Classifier:
        tuning = self.question.fine_tuning
        if tuning is None:
            return change.change(bare)
        return tuning.load(self._spec(change), self.folder / "trainings", self.question.device)

    def _spec(self, change: Change) -> str:
        return f"{self.question.model}{CHANGED}{change.spec}"

    def _subject(self, classifier: Classifier, view: str) -> Subject:
        options = self._options(view)
        return open_subject(classifier, self.question.dataset, options, n=self.question.n)

    def _options(self, view: str) -> Options:
        return Options(
            view=View(view), seed=self.question.seed, study=_STUDY, progress=self.progress
        )

    def _measured(
        self, subject: Subject, view: str, conditions: Sequence[str]
    ) -> dict[str, pl.DataFrame]:
        """Outcome of each image under each condition, by the condition's text."""
        options = self._options(view)
        runs = plan(subject, parse_conditions(list(dict.fromkeys(conditions))), options)
        for rows in measure_runs(subject, runs, self.store, options):
            if rows["status"][0] != "ok":
                what = f"{rows['model'][0]} under {rows['condition'][0]}"
                raise BadValueError(f"measuring {what} failed: {rows['error'][0]}")
            if "nonfinite_logits" in rows["flags"][0]:
                self.broken[rows["model"][0]] = None
        return {run.spec.condition: self.store.samples(run.id) for run in runs}

    def _one(
        self,
        change: Change,
        bare: Classifier,
        originals: Mapping[str, Mapping[str, pl.DataFrame]],
        curves: Mapping[str, Curve],
    ) -> Advised:
        reason = change.applies(bare)
        empty = Advised(change=change.spec, model=self._spec(change), about=change.about)
        if reason:
            return empty.model_copy(update={"status": "does not apply", "why": f"{reason}."})
        view = view_of(change, self.question.view)
        changed = self._subject(self._changed(change, bare), view)
        original = self._subject(self._original(bare), view)
        keeps = change.keeps and self.question.fine_tuning is None
        found: dict[str, float] = {}
        why = "It computes the same function of the pixels: nothing changes."
        if not keeps:
            found, why = self._equivalents(original, changed, view)
        after = self._measured(changed, view, self.conditions)
        predicted = {
            name: self._predicted(name, curves[view], found, keeps=keeps)
            for name in self.conditions
        }
        consequences = [
            _consequence(name, originals[view][name], after[name], predicted[name])
            for name in self.conditions
        ]
        helps = [one.condition for one in consequences if one.measured.low > 0]
        tuning = self.question.fine_tuning
        return empty.model_copy(
            update={
                "why": why,
                "equivalent_sigma": found.get(self.question.noise, math.nan),
                "view": view,
                "fine_tuned": 0 if tuning is None else tuning.epochs,
                "consequences": tuple(consequences),
                "helps": tuple(helps),
            }
        )

    def _equivalents(
        self, original: Subject, changed: Subject, view: str
    ) -> tuple[dict[str, float], str]:
        """Noise that moves the original as far as the change does, by condition; in words too."""
        sigma, seed = self.question.sigma, self.question.seed
        reference = self.references.get(view)
        if reference is None:
            sigmas = [sigma * part for part in _PARTS]
            reference = Displacements.of(original, sigmas, seed=seed, images=_PROBED)
            self.references[view] = reference
        found = {
            condition: reference.equivalent(
                reference.from_clean(features(changed, level, seed=seed, images=_PROBED))
            )
            for condition, level in ((CLEAN, 0.0), (self.question.noise, sigma))
        }
        clean, noisy = found.values()
        why = (
            f"On clean pictures it is as far from the original as noise of sigma {clean:.3f} "
            f"takes that; under sigma {sigma:g}, as sigma {noisy:.3f}."
        )
        if max(clean, noisy) >= reference.sigmas[-1]:
            why += (
                f" Sigma {reference.sigmas[-1]:g} is the strongest noise that was tried: it may be "
                "farther than that, and the prediction too kind."
            )
        return found, why

    def _predicted(
        self, condition: str, curve: Curve, found: Mapping[str, float], *, keeps: bool
    ) -> Value:
        if keeps:
            return Value(value=0.0, low=0.0, high=0.0, count=curve.count)
        if condition not in found:
            return Value(count=curve.count)
        sigma = 0.0 if condition == CLEAN else self.question.sigma
        return predicted_change(curve, sigma, found[condition])

    def _advice(
        self, advised: list[Advised], curve: Curve, original: Mapping[str, pl.DataFrame]
    ) -> Advice:
        question, dataset = self.question, self.question.dataset
        best = ordered(advised, question.noise, question.clean_loss)
        count = len(original[CLEAN])
        if count < 100:
            few = f"Only {count} images were measured: intervals are wide, and advice is a guess."
            self.flags.insert(0, few)
        return Advice(
            source=f"{question.model} on {dataset.name} {dataset.split}",
            flags=tuple(self.flags),
            model=question.model,
            data=f"{dataset.name} {dataset.split}",
            images=count,
            conditions=tuple(self.conditions),
            curve=tuple(
                (sigma, right / curve.count if curve.count else math.nan)
                for sigma, right in zip(curve.sigmas, curve.correct, strict=True)
            ),
            advised=tuple(best),
            clean_loss=question.clean_loss,
            gain=question.gain,
            verdict=verdict(best, question.noise, question.gain, question.clean_loss),
        )


def _specs(texts: Sequence[str]) -> list[str]:
    return [part.spec for group in parse_conditions(list(texts)) for part in group.conditions]


def _curve(measured: Mapping[str, pl.DataFrame], sigmas: Sequence[float]) -> Curve:
    frames = [measured[CLEAN], *(measured[_NOISE.format(sigma)] for sigma in sigmas)]
    correct = tuple(int(frame["correct"].sum()) for frame in frames)
    return Curve((0.0, *sigmas), correct, len(frames[0]))


def _consequence(
    condition: str, before: pl.DataFrame, after: pl.DataFrame, predicted: Value
) -> Consequence:
    both = before.join(after.select("id", "correct"), on="id", how="inner", suffix="_after")
    old, new = both["correct"].to_numpy(), both["correct_after"].to_numpy()
    return Consequence(
        condition=condition,
        predicted=predicted,
        measured=_value(paired_difference(old, new)),
        before=_value(proportion(int(old.sum()), len(old))),
        after=_value(proportion(int(new.sum()), len(new))),
    )


def _value(found: Any) -> Value:
    return Value(value=found.value, low=found.low, high=found.high, count=found.count)


def _failed(change: Change, model: str, error: str) -> Advised:
    return Advised(
        change=change.spec,
        model=f"{model}{CHANGED}{change.spec}",
        about=change.about,
        status="failed",
        why=error,
    )
