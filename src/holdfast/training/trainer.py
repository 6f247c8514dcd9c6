"""The training loop: one step after another, each decided by the recipe and its number alone.

All randomness is keyed by step, epoch and sample, so what a step does depends on where the run
stands and on nothing else: a run that is taken up again in the middle of an epoch ends with the
weights of one that was never interrupted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.models import Classifier
from holdfast.models.fast import is_wide
from holdfast.models.training_copy import CraftingCopy
from holdfast.training.batch import TrainingBatch
from holdfast.training.batches import TrainingData
from holdfast.training.checkpoint import State, optimizer_state, pack, restore_optimizer, unpack
from holdfast.training.devices import (
    accelerator_for,
    check_shares,
    is_full,
    keyed,
    smaller_portion,
    summed,
    wrapped,
)
from holdfast.training.objectives import Objective
from holdfast.training.protocols import BATCH_NORMS, Learning, Phase, make_optimizer, phases
from holdfast.training.recipe import Recipe
from holdfast.training.schedules import Standing, momentum, radius_factor, rate_factor
from holdfast.training.stepping import DivergedError, Stepped, Sums, portions_of
from holdfast.training.steps import Work
from holdfast.training.student import Student, Whole

_MOST_RATE = 1e38  # float32 ends there


class Trainer:
    """Trains one classifier by a recipe, in place.

    Args:
        recipe: What decides the weights.
        classifier: With the weights to start from, on its device.
        data: Training images.
        accelerator: Devices and precision; by default one process on the classifier's device.
        features: What the network gives without its last layer, where it is pretrained so.

    Attributes:
        step: Steps taken.
        notes: What a person should know, in order; said once each.
        sums: Since whoever reads them has last replaced them.
    """

    def __init__(
        self,
        recipe: Recipe,
        classifier: Classifier,
        data: TrainingData,
        accelerator: Accelerator | None = None,
        *,
        features: int = 0,
    ) -> None:
        self.recipe = recipe
        self.classifier = classifier
        self.data = data
        self.accelerator = accelerator or accelerator_for(recipe, classifier)
        self.batches = data.steps(recipe.train.batch_size)
        self.step = 0
        self.notes: list[str] = []
        self.sums = Sums()
        self.extra: State = {}
        self._micro = recipe.train.micro_batch
        self._whole = Whole(classifier, _companion(recipe, classifier, features)).to(
            classifier.device
        )
        self._average: AveragedModel | None = None
        if recipe.train.ema is not None:
            averaging = get_ema_multi_avg_fn(recipe.train.ema)  # type: ignore[no-untyped-call]
            self._average = AveragedModel(
                cast("nn.Module", classifier.net), multi_avg_fn=averaging, use_buffers=True
            )
        net = cast("nn.Module", classifier.net)
        if classifier.device.type in ("cpu", "cuda") and is_wide(net):
            net.to(memory_format=torch.channels_last)  # a tenth of a step; rounding aside the same
        # Made once, from the first weights, so that a run taken up again has the same one.
        attacked = recipe.objective.attack is not None and recipe.step.crafts
        attacked = attacked and recipe.train.crafting == "eval"
        self._twin = CraftingCopy(classifier) if attacked else None
        for phase in phases(recipe)[1:]:  # before hours go into the first
            self._learning = Learning(net, recipe.protocol, phase, self._whole.companion)
            self._check_batch_norm(self._micro)
        self._phase = phases(recipe)[0]
        self._begin(self._phase)

    @property
    def epoch(self) -> float:
        """Epochs done, with the part of the one that runs."""
        return self.step / self.batches

    @property
    def radius(self) -> float:
        """Part of the radius of the objective's attack in the epoch of the last step."""
        return radius_factor(self.recipe.train, max(1, -(-self.step // self.batches)))

    @property
    def steps(self) -> int:
        """Of the whole run."""
        planned = self.recipe.train.epochs * self.batches
        return min(planned, self.recipe.train.max_steps or planned)

    @property
    def result(self) -> Classifier:
        """What the run has made so far, in evaluation mode: the averaged weights, if any are."""
        self.student.resume()
        if self._average is None:
            return self.classifier
        twin = copy.copy(self.classifier)
        twin.net = self._average.module.eval()
        return twin

    def run(self) -> Iterator[Stepped]:
        """Take the steps that are left.

        Raises:
            DivergedError: The loss or its gradient is no number.
            BadValueError: Not even one image fits into memory.
        """
        while self.step < self.steps:
            epoch, start = divmod(self.step, self.batches)
            yield from self._epoch(epoch + 1, start)

    def state(self) -> tuple[State, dict[str, Any]]:
        """All that the next step depends on: tensors, and plain numbers."""
        memory, numbers = optimizer_state(self._optimizer.optimizer)
        average = {} if self._average is None else self._average.state_dict()
        tensors = pack(
            whole=self._whole.state_dict(), optimizer=memory, average=average, extra=self.extra
        )
        scaler = self.accelerator.scaler
        body = {
            "step": self.step,
            "micro": self._micro,
            "sums": vars(self.sums),
            "optimizer": numbers,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        return tensors, body

    def restore(self, tensors: State, body: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.step, self._micro = body["step"], body["micro"]
        self.sums = Sums(**body["sums"])
        self.extra = unpack(tensors, "extra")
        for phase in phases(self.recipe):
            # A phase that has just ended still owns the memory; its successor starts afresh.
            ours = phase.first <= max(1, -(-self.step // self.batches)) <= phase.last
            if ours and phase != self._phase:
                self._begin(phase)
        self._whole.load_state_dict(unpack(tensors, "whole"))
        self.student.resume()
        restore_optimizer(
            self._optimizer.optimizer, unpack(tensors, "optimizer"), body["optimizer"]
        )
        if self._average is not None:
            self._average.load_state_dict(unpack(tensors, "average"))
        if body["scaler"] and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(body["scaler"])

    def _begin(self, phase: Phase) -> None:
        """Make the optimizer of a phase."""
        self._phase = phase
        # Accelerate wraps a module once, for the weights that learn then.
        self._whole = Whole(self.classifier, self._whole.companion)
        if self.step:  # it collects garbage, which takes a while
            self.accelerator.free_memory()
        net = cast("nn.Module", self.classifier.net)
        self._learning = Learning(net, self.recipe.protocol, phase, self._whole.companion)
        groups = self._learning.groups(self.recipe.optimizer)
        check_shares(len(self.data), self.recipe.train.batch_size, self.accelerator.num_processes)
        self._check_batch_norm(self._micro)
        made = make_optimizer(groups, self.recipe.optimizer)
        module, self._optimizer = wrapped(self.accelerator, self._whole, made)
        self.student = Student(
            self.classifier,
            module,
            self._learning,
            crafting=self.recipe.train.crafting,
            twin=self._twin,
        )
        self._parameters = [p for group in groups for p in group["params"]]

    def _epoch(self, epoch: int, start: int) -> Iterator[Stepped]:
        if not self._phase.first <= epoch <= self._phase.last:
            self._begin(next(p for p in phases(self.recipe) if p.first <= epoch <= p.last))
        factor = radius_factor(self.recipe.train, epoch)
        objective = self.recipe.objective.grown(factor)
        stream = self.data.batches(
            epoch,
            batch_size=self.recipe.train.batch_size,
            start=start,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        for place, batch in enumerate(stream, start + 1):
            loss = self._step(objective, batch.to(self.classifier.device), epoch)
            self.step += 1
            yield Stepped(self.step, epoch, place, self.batches, loss)
            if self.step >= self.steps:
                return

    def _step(self, objective: Objective, batch: TrainingBatch, epoch: int) -> float:
        """All replays of a batch; its mean loss."""
        step = self.recipe.step
        count = summed(self.accelerator, len(batch))
        losses = norms = 0.0
        for replay in range(step.replays):
            self._set_rates(replay)
            stream = f"training attack {epoch}" + (f" replay {replay}" if replay else "")
            keys = keys_for(batch.ids, seed=self.recipe.seed, stream=stream)
            with keyed(self.recipe.seed, self.step, replay, self.classifier.device):
                total = self._gradients(objective, batch, keys.to(self.classifier.device), count)
                loss = summed(self.accelerator, total) / count
            norm = self._norm()
            self._check(loss, norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
            self.student.moved()
            losses, norms = losses + loss, norms + norm
        if self._average is not None:
            self._average.update_parameters(cast("nn.Module", self.classifier.net))
        after = getattr(objective, "after_step", None)
        if after is not None:
            after(self.student, (self.step + 1) / self.steps)
        loss, norm = losses / step.replays, norms / step.replays
        self.sums.add(loss, norm, round(count))
        return loss

    def _gradients(
        self, objective: Objective, batch: TrainingBatch, keys: Any, count: float
    ) -> float:
        """Gradients of the mean loss, in as many portions as memory asks for; the loss' sum."""
        buffers = [(b, b.clone()) for b in self._whole.buffers()]
        extra = {name: value.clone() for name, value in self.extra.items()}
        while True:
            try:
                return self._accumulated(objective, batch, keys, count)
            except RuntimeError as error:  # also torch.OutOfMemoryError
                if not is_full(error):
                    raise
                self._micro = self._smaller(len(batch), error)
            self._optimizer.zero_grad()
            for buffer, before in buffers:
                buffer.copy_(before)
            self.extra.clear()
            self.extra.update({name: value.clone() for name, value in extra.items()})
            if self.classifier.device.type == "cuda":
                torch.cuda.empty_cache()

    def _accumulated(
        self, objective: Objective, batch: TrainingBatch, keys: Any, count: float
    ) -> float:
        portions = portions_of(len(batch), self._micro)
        total: Tensor | None = None
        work = Work(
            objective=objective,
            classifier=self.student,
            parameters=self._parameters,
            # The mean over processes is then that of the batch, though their parts are unequal.
            nominal=count / self.accelerator.num_processes,
            backward=self.accelerator.backward,
            buffers=list(self._whole.buffers()),
            extra=self.extra,
            epoch=self.step // self.batches,
        )
        for rows in portions:
            work.start = rows.start
            # Processes exchange gradients once, with the last portion.
            waits = nullcontext() if rows is portions[-1] else self._unsynchronized()
            with waits, self.accelerator.autocast():
                portion = batch if len(portions) == 1 else batch.take(rows)
                mine = keys if len(portions) == 1 else replace(keys, words=keys.words[rows])
                losses = self.recipe.step.gradients(work, portion, mine)
            part = losses.sum()
            total = part if total is None else total + part
        assert total is not None  # noqa: S101 - a batch has images
        return float(total)

    def _unsynchronized(self) -> Any:
        return self.accelerator.no_sync(self.student.module)

    def _smaller(self, count: int, error: RuntimeError) -> int:
        before = self._micro or count
        if self.accelerator.num_processes > 1:  # the others are in the middle of an exchange
            raise BadValueError(
                f"memory does not hold {before} images at once on one of the devices; set "
                f"train.micro_batch={(before + 1) // 2}"
            ) from error
        after = smaller_portion(before, self.recipe, error)
        self._check_batch_norm(after)
        self.notes.append(
            f"memory does not hold {before} images at once: gradients are added over portions of "
            f"{after} (train.micro_batch={after} says so from the start). The batch stays "
            f"{self.recipe.train.batch_size}; batch normalization sees the portions"
        )
        return after

    def _norm(self) -> float:
        self.accelerator.unscale_gradients()
        clip = self.recipe.train.clip
        if clip is not None:
            return float(torch.nn.utils.clip_grad_norm_(self._parameters, clip))
        found = [p.grad for p in self._parameters if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(found))

    def _check(self, loss: float, norm: float) -> None:
        scaled = self.accelerator.scaler is not None  # which leaves such steps out by itself
        if abs(loss) < float("inf") and (scaled or norm < float("inf")):
            return
        what = (
            f"the loss is {loss}" if not abs(loss) < float("inf") else "its gradient is no number"
        )
        raise DivergedError(
            f"{what} at step {self.step + 1}, in epoch {self.step // self.batches + 1}. Lower "
            f"optimizer.lr "
            f"({self.recipe.optimizer.lr:g}), set train.clip=1, or look for images that are not "
            "finite"
        )

    def _set_rates(self, replay: int) -> None:
        phase, replays = self._phase, self.recipe.step.replays
        ahead = (phase.first - 1) * self.batches
        done = (self.step - ahead) * replays + replay
        end = min(phase.last * self.batches, self.steps) - ahead
        moment = Standing(done, end * replays, self.batches * replays)
        try:
            factor = rate_factor(self.recipe.schedule, moment)
        except OverflowError:
            factor = float("inf")
        largest = max(group["base_lr"] for group in self._optimizer.param_groups) * factor
        if largest > _MOST_RATE:
            raise BadValueError(
                f"the learning rate has grown to {largest:g} at step {self.step + 1}; lower "
                "optimizer.lr or schedule.gamma"
            )
        inertia = momentum(self.recipe.schedule, moment)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
            if inertia is None:
                continue
            if "betas" in group:
                group["betas"] = (inertia, group["betas"][1])
            else:
                group["momentum"] = inertia

    @property
    def learning_rate(self) -> float:
        """Of the last step; the largest of the groups'."""
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def _check_batch_norm(self, portion: int | None) -> None:
        """Refuse portions of one image where their statistics would be used."""
        size = min(self.recipe.train.batch_size // self.accelerator.num_processes, portion or 2)
        self._learning.modes()
        learns = any(
            isinstance(m, BATCH_NORMS) and m.training
            for m in cast("nn.Module", self.classifier.net).modules()
        )
        if size < 2 and learns:
            raise BadValueError(
                "batch normalization has no statistics of a single image: take train.batch_size "
                "and train.micro_batch of at least 2 a device, or protocol.freeze_bn=true"
            )


def _companion(recipe: Recipe, classifier: Classifier, features: int) -> nn.Module | None:
    make = getattr(recipe.objective, "companion", None)
    if make is None:
        return None
    with keyed(recipe.seed, -1, 0, torch.device("cpu")):
        companion: nn.Module = make(classifier.net, features)
    return companion
