"""A training from recipe to folder: prepared, run, kept, and taken up again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from holdfast.core.errors import BadValueError, ChangedInputError, HoldfastError, MissingError
from holdfast.core.version import VERSION
from holdfast.models import digest_state, read_weights
from holdfast.models.saved import MODEL_FILE
from holdfast.records import write_whole
from holdfast.records.trainings import (
    BEST_FILE,
    CHECKPOINT_FILE,
    LAST_FILE,
    RECIPE_FILE,
    Training,
    add_curve,
    cut_curves,
    write_training,
)
from holdfast.training.checkpoint import fits, read_tensors, save_tensors
from holdfast.training.claiming import claimed, leads
from holdfast.training.devices import machine, own_device, said_when_full, summed
from holdfast.training.events import Event, Finished, Noted, Options, Started, Validated
from holdfast.training.folders import check_inputs, known_run, read_recipe
from holdfast.training.preparing import Prepared, prepare
from holdfast.training.reading import write_recipe
from holdfast.training.recipe import Recipe
from holdfast.training.stepping import DivergedError, Sums
from holdfast.training.trainer import Trainer
from holdfast.training.validation import Accuracy
from holdfast.training.watching import Watch

_LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy")


def train(recipe: Recipe, folder: str | Path, options: Options | None = None) -> Iterator[Event]:
    """Train by a recipe in a folder, or go on with what is there.

    The folder gets `recipe.yaml` (every field), `run.json` (versions, machine, outcome),
    `curves.jsonl`, `best.safetensors` and `last.safetensors` with `model.json`, by which the folder
    is a model for `load_model` and `holdfast measure`, and `checkpoint.safetensors` to go on from.
    A finished run is not run again.

    Raises:
        ChangedInputError: The folder holds a run of another recipe, or its data have changed.
        DivergedError: The loss is no number any more; the record says so.
        HoldfastError: Input that cannot be used.
    """
    folder, options = Path(folder).expanduser(), options or Options()
    if folder.exists() and not folder.is_dir():
        raise BadValueError(f"{folder} is a file, and a run needs a folder; choose another name")
    known = known_run(folder, recipe)
    done = known is not None and known.status in ("finished", "stopped")
    try:
        with said_when_full():
            prepared = prepare(recipe, device=own_device(options.device), workers=options.workers)
    except MissingError:
        if known is None or not done:
            raise
        yield Finished(known)  # what it learned from may be gone
        return
    if known is not None:
        if known.status != "running" or (folder / CHECKPOINT_FILE).is_file():
            check_inputs(known, prepared, folder)  # else nothing is left of it
        if done:
            yield Finished(known)
            return
    with claimed(folder), said_when_full():
        if leads() and known_run(folder, recipe) != known:
            raise ChangedInputError(
                f"another process has trained in {folder} meanwhile; the same command goes on "
                "with what it left"
            )
        yield from _Session(prepared, folder, options, known).events()


def resume(folder: str | Path, options: Options | None = None) -> Iterator[Event]:
    """Go on with the run in a folder, by the recipe that lies there.

    Raises:
        MissingError: No run in the folder.
        ChangedInputError: Its recipe has been edited since.
    """
    folder = Path(folder).expanduser()
    return train(read_recipe(folder), folder, options)


class _Session:
    """One process' work on a run."""

    def __init__(
        self, prepared: Prepared, folder: Path, options: Options, known: Training | None
    ) -> None:
        self.prepared, self.folder, self.options = prepared, folder, options
        self.recipe = prepared.recipe
        self.trainer = Trainer(
            self.recipe, prepared.classifier, prepared.data, features=prepared.features
        )
        self.main = self.trainer.accelerator.is_main_process
        self.training = known or self._fresh()
        self.watch = Watch(self.recipe)
        self.seconds = 0.0
        self.shown = 0  # notes told
        self.lost: list[str] = []
        self._resumed = self._restore() if known is not None else False
        if known is not None and not self._resumed:
            self.training = self._fresh()  # nothing is left of a run without a checkpoint
            if known.steps:
                self.lost = [f"no {CHECKPOINT_FILE} in {folder}: the run begins again"]

    def events(self) -> Iterator[Event]:
        """Run to the end, saving on the way, whatever ends it."""
        if not self._resumed:
            self._begin()
        self._mark(status="running", reason="")
        yield Started(self.training, self.trainer.step, self.trainer.steps)
        for note in (*self.prepared.notes, *self.lost):
            yield Noted(note)
        with self._recorded():
            if self.trainer.step == 0:
                yield from self._validate(first=True)
            yield from self._steps()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Let the record say how it ended, whatever ended it."""
        try:
            yield
        except DivergedError as error:
            if self.main:  # the weights are those before the step
                self._keep_last()
            reason = f"{error}. {self._left()}"
            self._mark(status="failed", reason=reason, flags={"diverged"})
            raise DivergedError(reason) from error
        except HoldfastError as error:
            self._mark(status="failed", reason=str(error))
            raise
        except GeneratorExit:
            raise  # whoever follows the run has left it
        except BaseException as error:
            self._mark(status="interrupted", reason=f"{type(error).__name__}: {error}")
            raise

    def _left(self) -> str:
        """What a run that cannot go on leaves."""
        if self.watch.best_epoch is None:
            return f"The last weights are in {self.folder}; delete it to begin again"
        return f"The best weights, of epoch {self.watch.best_epoch:g}, are still in {self.folder}"

    def _steps(self) -> Iterator[Event]:
        saved = begun = time.monotonic()
        before = self.seconds
        if self.watch.stop:  # but the record of it was lost, or a signal came first
            yield from self._finish("stopped", self.watch.stop)
            return
        for stepped in self.trainer.run():
            self.seconds = before + time.monotonic() - begun
            yield stepped
            yield from self._notes()
            ends = stepped.ends_epoch or self.trainer.step == self.trainer.steps
            if ends and self._due(stepped.epoch):
                before_it = self.watch.best_epoch
                yield from self._validate()
                if self.watch.best_epoch != before_it:
                    self._save()  # so that no checkpoint is older than the best weights
                    saved = time.monotonic()
            reason = self._asked()
            if reason:
                self._save()
                self._mark(status="interrupted", reason=reason)
                yield Finished(self.training)
                return
            if self.watch.stop:
                yield from self._finish("stopped", self.watch.stop)
                return
            if time.monotonic() - saved > self.options.save_every:
                self._save()
                saved = time.monotonic()
        yield from self._finish("finished", "")

    def _asked(self) -> str:
        """Why any of the processes was asked to stop; all stop after the same step."""
        reason, accelerator = self.options.stopping(), self.trainer.accelerator
        if accelerator.num_processes == 1 or not summed(accelerator, float(bool(reason))):
            return reason
        return max(gather_object([reason]))

    def _due(self, epoch: int) -> bool:
        every = self.recipe.validate_with.every
        return epoch % every == 0 or self.trainer.step == self.trainer.steps

    def _validate(self, *, first: bool = False) -> Iterator[Event]:
        """Measure, keep the row, and the weights if they are the best so far."""
        if self.main:
            row = self._row(first=first)
            best = self.watch.take(row)
            add_curve(self.folder, row)
            if best and not first:
                save_tensors(self.folder / BEST_FILE, self._weights())
                self._write_model()
            self._mark()
            yield Validated(row, best)
        self.trainer.sums = Sums()
        self._share_watch()
        self.trainer.student.resume()

    def _row(self, *, first: bool) -> dict[str, Any]:
        trainer, sums = self.trainer, self.trainer.sums
        attack = self.recipe.robust_attack
        found = {
            name: None if one is None else one.accuracy(trainer.result, attack)
            for name, one in (
                ("train", self.prepared.train_part),
                ("validation", self.prepared.validation),
            )
        }
        row: dict[str, Any] = {
            "epoch": 0.0 if first else trainer.epoch,
            "step": trainer.step,
            "seconds": self.seconds,
            "loss": sums.loss / sums.images if sums.images else None,
            "gradient_norm": sums.norm / sums.steps if sums.steps else None,
            "learning_rate": None if first else trainer.learning_rate,
            "radius_factor": None if first else trainer.radius,
        }
        for name, accuracy in found.items():
            row |= _columns(name, accuracy)
        return row

    def _share_watch(self) -> None:
        """Let every process know what the main one has measured."""
        if self.trainer.accelerator.num_processes > 1:
            shared = [self.watch]
            broadcast_object_list(shared)
            self.watch = shared[0]

    def _notes(self) -> Iterator[Event]:
        while self.shown < len(self.trainer.notes):
            note = self.trainer.notes[self.shown]
            self.shown += 1
            self._mark(notes=(*self.training.notes, note))
            yield Noted(note)

    def _finish(self, status: str, reason: str) -> Iterator[Event]:
        digest = ""
        if self.main:
            kept = self._keep_last()
            digest = digest_state(read_weights(self.folder / kept))
        self._save()
        self._mark(status=status, reason=reason, weights_digest=digest)
        yield Finished(self.training)

    def _keep_last(self) -> str:
        """Write the last weights; the name of the file that the folder stands for."""
        save_tensors(self.folder / LAST_FILE, self._weights())
        kept = BEST_FILE if (self.folder / BEST_FILE).exists() else LAST_FILE
        self._write_model(kept)
        return kept

    def _begin(self) -> None:
        """Write what says what this folder is, before the first step."""
        if not self.main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = write_recipe(self.recipe)
        write_whole(self.folder / RECIPE_FILE, lambda part: part.write_text(text, "utf-8"))
        cut_curves(self.folder, -1)
        for name in (BEST_FILE, LAST_FILE, CHECKPOINT_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def _save(self) -> None:
        if self.main:
            tensors, numbers = self.trainer.state()
            numbers |= {"watch": self.watch.state(), "seconds": self.seconds}
            numbers["recipe"] = self.recipe.digest
            save_tensors(self.folder / CHECKPOINT_FILE, tensors, numbers)

    def _restore(self) -> bool:
        """Take up the checkpoint, if there is one; whether there was."""
        path = self.folder / CHECKPOINT_FILE
        if not path.is_file():
            return False
        tensors, numbers = read_tensors(path)
        with fits(path):
            if numbers["recipe"] != self.recipe.digest or numbers["step"] > self.trainer.steps:
                raise ValueError("it is of another recipe")
            self.trainer.restore(tensors, numbers)
            self.watch.restore(numbers["watch"])
            self.seconds = float(numbers["seconds"])
        if self.watch.best_epoch is not None and not (self.folder / BEST_FILE).is_file():
            self.watch.forget_best()
            self.trainer.notes.append(
                f"{BEST_FILE} is gone: the best weights are chosen among those that follow"
            )
        if self.main:
            cut_curves(self.folder, self.trainer.step)
        # Flags of steps that are not taken any more do not count.
        self._mark(resumed=self.training.resumed + 1, forget=True)
        return True

    def _weights(self) -> dict[str, torch.Tensor]:
        return self.prepared.weights(self.trainer.result)

    def _write_model(self, weights: str = BEST_FILE) -> None:
        text = self.prepared.saved(weights).text()
        write_whole(self.folder / MODEL_FILE, lambda part: part.write_text(text, "utf-8"))

    def _mark(self, *, flags: set[str] | None = None, forget: bool = False, **changes: Any) -> None:
        """Bring the record up to date."""
        before = set() if forget else set(self.training.flags)
        known = before | self.watch.flags | (flags or set())
        self.training = replace(
            self.training,
            steps=self.trainer.step,
            epochs=self.trainer.epoch,
            seconds=self.seconds,
            best_epoch=self.watch.best_epoch,
            best_score=self.watch.best_score,
            flags=tuple(sorted(known)),
            **changes,
        )
        if self.main:
            write_training(self.folder, self.training)

    def _fresh(self) -> Training:
        prepared, recipe = self.prepared, self.recipe
        attack = recipe.robust_attack
        return Training(
            digest=recipe.digest,
            recipe=recipe.body(),
            changed=recipe.changed,
            status="running",
            model=recipe.model.name,
            data=recipe.data.name,
            classes=len(prepared.data.classes),
            images=len(prepared.data),
            validation_images=0 if prepared.validation is None else len(prepared.validation.labels),
            best_epoch=None,
            best_score=None,
            score="accuracy" if attack is None else f"robust accuracy under {attack.text}",
            flags=(),
            notes=prepared.notes,
            command=self.options.command,
            version=VERSION,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: version_of(name) for name in _LIBRARIES},
            machine=machine(prepared.classifier.device, self.trainer.accelerator.num_processes),
            data_fingerprint=prepared.fingerprint,
            start_digest=prepared.start_digest,
            resumed=0,
        )


def _columns(name: str, accuracy: Accuracy | None) -> dict[str, Any]:
    if accuracy is None:
        return {f"{name}_accuracy": None, f"{name}_robust": None, f"{name}_n": None}
    return {
        f"{name}_accuracy": accuracy.clean,
        f"{name}_robust": accuracy.robust,
        f"{name}_n": accuracy.count,
    }
