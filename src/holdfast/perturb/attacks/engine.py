"""The only loop over attacks: slots kept full, lanes retired when they are done.

A fixed number of slots is evaluated at a time. A sample walks through the stages, one stage an
attack (and, where there are several eps, all attacks at the smallest eps first); it leaves as
soon as it has fallen, and another takes its slot: continuous batching. Candidates are collected
and confirmed together by a fresh float32 pass of the judge. What decides a sample's fate is
keyed by its id and computed row by row, so neither order nor neighbours matter.

A fall at some eps is a fall at every larger one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks._confirming import Judged, confirm
from holdfast.perturb.attacks._stages import Candidates, Stage, spread, streams
from holdfast.perturb.attacks.admission import admit, check_aim, check_labels, chunks
from holdfast.perturb.attacks.base import Answer, Attack, Task
from holdfast.perturb.attacks.evaluator import Evaluator, keep_freed_memory
from holdfast.perturb.attacks.samples import (
    CLEAN,
    GIVEN,
    Samples,
    Verdict,
    choose_targets,
    fresh_samples,
    is_adversarial,
    limit,
)
from holdfast.perturb.base import Batch

_NEAR = 1 + 1e-4  # float32 sizes up to this times the limit are measured again in float64


@dataclass(frozen=True)
class Setting:
    """How an engine runs.

    Attributes:
        slots: Lanes evaluated at a time.
        seed: Keys all draws.
        target: Rule or class of a targeted run; None: any wrong class. `GIVEN`: the labels of
            the batches are the wanted classes, and what the model says of the own images stands
            for the true ones.
        members: Stages an eps; None: all are of one eps.
        transfer: Craft on the searched model without looking at the judge: no lane retires, and
            of each lane the judge sees one image, as it is: the smallest (minimum-norm attacks)
            or latest (others) that was adversarial on the searched model within eps; where none
            was, the last one.
        repeats: Draws of a randomized model over which each stage averages its gradients; empty:
            as many as the search's evaluator says. Black boxes make one.
    """

    slots: int
    seed: int
    target: str | int | None = None
    members: int | None = None
    transfer: bool = False
    repeats: tuple[int, ...] = ()


class Engine:
    """Runs stages over a stream of samples.

    Args:
        attacks: The stages in their order: all attacks at the smallest eps, then at the next.
        search: The model that is searched.
        judge: The model that confirms; float32.
        setting: How to run.
    """

    def __init__(
        self, attacks: Sequence[Attack], search: Evaluator, judge: Evaluator, setting: Setting
    ) -> None:
        repeats = setting.repeats or (search.repeats,) * len(attacks)
        self._stages = [
            Stage(attack, repeats=count if attack.gradients else 1)
            for attack, count in zip(attacks, repeats, strict=True)
        ]
        self._streams = streams(attacks)
        self._search = search
        self._judge = judge
        self._setting = setting
        self._parked: list[Candidates] = []
        self._verdicts: list[Verdict] = []
        # The smallest image is worth keeping where a larger radius may reuse it, or is none.
        several = len({attack.eps for attack in attacks}) > 1 or attacks[0].eps is None
        self._smallest = several and any(attack.minimum_norm for attack in attacks)
        self._any_class = setting.target is None
        self.flags: set[str] = set()

    def run(self, batches: Iterable[Batch]) -> Iterator[Verdict]:
        """Verdicts on all samples, in the order in which they are reached."""
        keep_freed_memory()
        incoming = chunks(batches, self._setting.slots)
        dry = False
        while True:
            stage = self._next_stage(dry=dry)
            if stage is not None:
                with torch.no_grad():
                    # As long as nothing ends, no other stage's turn comes.
                    while not self._step(stage):
                        pass
            elif not dry:
                batch = next(incoming, None)
                dry = batch is None
                if batch is not None:
                    with torch.no_grad():
                        self._admit(batch)
            elif self._parked:
                with torch.no_grad():
                    self._confirm()
            else:
                return
            yield from self._verdicts
            self._verdicts.clear()

    def _next_stage(self, *, dry: bool) -> int | None:
        """The deepest stage that can fill the slots; at the end the shallowest with any lane."""
        loads = [stage.load for stage in self._stages]
        rooms = [stage.room(self._setting.slots) for stage in self._stages]
        full = [place for place, room in enumerate(rooms) if loads[place] >= room]
        if full:
            return full[-1]
        busy = [place for place, load in enumerate(loads) if load] if dry else []
        return busy[0] if busy else None

    def _admit(self, batch: Batch) -> None:
        batch = admit(batch)
        logits, finite = self._judge.logits(batch.images)
        check_labels(batch.labels, logits.shape[1])
        check_aim(self._setting.target, logits.shape[1])
        samples = self._fresh(batch, logits)
        for one in () if self._setting.transfer else self._stages:
            one.width = one.attack.side_by_side(logits.shape[1])
        if self._setting.target == GIVEN:
            wrong = finite & self._adversarial(logits, samples)
        else:
            wrong = ~(finite & (logits.argmax(1) == samples.labels))
        right = ~wrong
        if bool(wrong.any()):
            fallen = samples.take(wrong)
            # What was not finite is shown as such, so that the record counts it as wrong.
            shown = torch.where(finite[:, None], logits, torch.full_like(logits, torch.nan))[wrong]
            stage = torch.full_like(fallen.ids, CLEAN)
            nothing = torch.zeros_like(fallen.norm)
            self._verdicts.append(Verdict(fallen, stage, fallen.images, shown, nothing))
        if bool(right.any()):
            self._enter(0, samples.take(right))

    def _fresh(self, batch: Batch, logits: Tensor) -> Samples:
        labels, ids = batch.labels.to(logits.device), batch.ids.to(logits.device)
        if self._setting.target == GIVEN:
            labels, targets = logits.argmax(1), labels
        else:
            keys = keys_for(ids, seed=self._setting.seed, stream="target")
            targets = choose_targets(self._setting.target, logits, labels, keys)
        known = Batch(batch.images, labels, ids)
        keep = self._smallest or self._setting.transfer
        return fresh_samples(known, targets, logits, stages=len(self._stages), keep_found=keep)

    def _enter(self, place: int, samples: Samples) -> None:
        """Let samples wait for a stage; at the end of all stages they stand."""
        if place < len(self._stages):
            known = self._known(place, samples)
            if bool(known.any()):
                self._park(Candidates(place, samples.take(known), samples.found[known], None))
                samples = samples.take(~known)
            if len(samples):
                self._stages[place].waiting.append(samples)
            return
        # Without an eps every stage has sought the smallest image: it is the result.
        found = samples.norm.isfinite()
        if self._stages[-1].attack.eps is None and bool(found.any()):
            self._park(Candidates(place - 1, samples.take(found), samples.found[found], None))
            samples = samples.take(~found)
            if not len(samples):
                return
        # What is wrong on the searched copy alone, where it is, cannot be confirmed.
        if bool((samples.norm.isinf() & (samples.found_by != CLEAN)).any()):
            self.flags.add("unconfirmed")
        stands = torch.full_like(samples.ids, len(self._stages))
        nan = torch.full_like(samples.norm, torch.nan)
        self._verdicts.append(Verdict(samples, stands, samples.images, samples.logits, nan))

    def _known(self, place: int, samples: Samples) -> Tensor:
        """Samples for which an image found at a smaller eps serves this one, bool [B]."""
        eps = self._stages[place].attack.eps
        if not self._smallest or eps is None:
            return torch.zeros_like(samples.fresh)
        return (samples.lane == 0) & (samples.norm <= limit(eps))

    def _refill(self, stage: Stage, place: int) -> None:
        room = stage.room(self._setting.slots) - stage.live
        taken: list[Samples] = []
        while room > 0 and stage.waiting:
            first = stage.waiting.pop(0)
            if len(first) > room:
                index = torch.arange(len(first), device=first.ids.device)
                stage.waiting.insert(0, first.take(index[room:]))
                first = first.take(index[:room])
            taken.append(first)
            room -= len(first)
        if not taken:
            return
        samples = Samples.concat(taken)
        samples = replace(samples, fresh=torch.ones_like(samples.fresh))
        width = stage.width
        lane = samples.lane[:, None] + torch.arange(width, device=samples.lane.device)
        ids = spread(samples.ids, width)
        keys = keys_for(ids, seed=self._setting.seed, stream=self._streams[place])
        state = stage.attack.start(
            Task(
                spread(samples.images, width),
                spread(samples.labels, width),
                spread(samples.targets, width),
                spread(samples.logits, width),
                lane.view(-1),
                keys.at(lane.view(-1)),
            )
        )
        stage.join(samples, state)

    def _step(self, place: int) -> bool:
        """Ask once, tell once, and retire what is done; whether anything was."""
        stage = self._stages[place]
        self._refill(stage, place)
        samples, state, attack = stage.samples, stage.state, stage.attack
        assert samples is not None  # noqa: S101 - `_next_stage` chose a stage with lanes
        assert state is not None  # noqa: S101
        query = attack.ask(state)
        self._search.repeats = stage.repeats
        answer, finite = self._search.answer(attack, state, query)
        samples.forward[:, place].add_(stage.repeats * stage.width)
        if attack.gradients:
            self._note_gradients(place, samples, query.gradient, answer)
        wrong = finite & self._adversarial(answer.logits, samples, stage.width)
        if self._setting.transfer:
            samples.keep_adversarial(attack, query.images, wrong)
        found = self._fallen(stage, samples, query.images, wrong)
        images = None if found is None else query.images[found[1]]  # before `tell` moves them
        last = query.images.clone() if self._setting.transfer else query.images
        stage.state = attack.tell(state, answer)
        finished = attack.finished(stage.state)
        if found is None and not bool(finished.any()):
            return False
        # The lanes of a sample are in step, and end together.
        finished = finished.view(-1, stage.width).all(1)
        fell = torch.zeros_like(finished) if found is None else found[0]
        self._retire(place, (fell, finished), images, last)
        return True

    def _note_gradients(self, place: int, samples: Samples, asked: Tensor, answer: Answer) -> None:
        """Count gradients, and flag those that vanish where a lane begins, as masked ones do."""
        width = self._stages[place].width
        passes = self._stages[place].repeats * max(1, answer.scores.shape[1])
        asked = asked.view(-1, width)
        samples.gradient[:, place].add_(asked.sum(1), alpha=passes)
        first = samples.fresh & asked[:, 0]
        if bool(first.any()):
            gradients = answer.gradients[spread(first, width)]
            if bool((gradients.flatten(1) == 0).all(1).any()):
                self.flags.add("zero_gradients")
            samples.fresh &= ~first

    def _adversarial(self, logits: Tensor, samples: Samples, width: int = 1) -> Tensor:
        """Whether the logits of the samples' lanes say what an attack wants, bool [n * width]."""
        targets = None if self._any_class else spread(samples.targets, width)
        return is_adversarial(logits, spread(samples.labels, width), targets)

    def _fallen(
        self, stage: Stage, samples: Samples, images: Tensor, wrong: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Samples with an adversarial image within eps, bool [n], and the lane of each, [fallen].

        Keeps the smallest image found, where that may serve later.
        """
        if self._setting.transfer or not bool(wrong.any()):
            return None
        rows = wrong.nonzero()[:, 0]
        attack, width = stage.attack, stage.width
        sizes = attack.ball.size(images[rows] - samples.images[rows // width])
        if attack.eps is not None and not self._smallest:
            rows = rows[sizes <= limit(attack.eps) * _NEAR]
            if not len(rows):
                return None
        sizes = attack.ball.size(images[rows].double() - samples.images[rows // width].double())
        if attack.minimum_norm:  # the judge has seen the own images, and a push leaves them there
            own = (rows // width)[sizes == 0]
            samples.found_by[own[samples.norm[own].isinf()]] = self._stages.index(stage)
            sizes[sizes == 0] = torch.inf
        least = torch.full_like(wrong, torch.inf, dtype=torch.float64)
        least[rows] = sizes
        smallest, lane = least.view(-1, width).min(1)
        lane += torch.arange(len(lane), device=lane.device) * width
        if self._smallest and attack.minimum_norm:
            samples.keep_smallest(smallest, images[lane], self._stages.index(stage))
        if attack.eps is None:
            return None
        fell = smallest <= limit(attack.eps)
        return (fell, lane[fell]) if bool(fell.any()) else None

    def _retire(
        self, place: int, ended: tuple[Tensor, Tensor], images: Tensor | None, last: Tensor
    ) -> None:
        """Park what fell, send on what is spent, and keep the rest."""
        stage = self._stages[place]
        samples, state, width = stage.samples, stage.state, stage.width
        assert samples is not None  # noqa: S101 - `_step` has just used them
        assert state is not None  # noqa: S101
        fell, finished = ended
        spent = finished & ~fell
        going = ~(finished | fell)
        # First who stays: samples that the judge sends back join them at once.
        some = bool(going.any())
        stage.samples = samples.take(going) if some else None
        stage.state = state.take(spread(going, width)) if some else None
        if images is not None:
            parked = state.take(spread(fell, width))
            self._park(Candidates(place, samples.take(fell), images, parked))
        if bool(spent.any()):
            if self._setting.transfer:
                done = samples.take(spent)
                shown = last[spent]
                kept = done.norm.isfinite()
                shown[kept] = done.found[kept]
                self._park(Candidates(place, done, shown, None))
            else:
                self._lane_done(place, samples.take(spent))

    def _lane_done(self, place: int, samples: Samples) -> None:
        """Send samples whose lane is spent to their next lane, or on to the next stage."""
        stage = self._stages[place]
        lanes = stage.attack.lanes(samples.logits.shape[1])
        samples = replace(samples, lane=samples.lane + stage.width)
        more = samples.lane < lanes
        if bool(more.any()):
            stage.waiting.append(samples.take(more))
        if bool(more.all()):
            return
        done = samples.take(~more)
        done = replace(done, lane=torch.zeros_like(done.lane))
        self._enter(place + 1, done)

    def _park(self, candidates: Candidates) -> None:
        self._parked.append(candidates)
        if sum(len(entry) for entry in self._parked) >= self._setting.slots:
            self._confirm()

    def _confirm(self) -> None:
        """Show all candidates to the judge; those that it does not confirm go on."""
        parked, self._parked = self._parked, []
        entries = [(entry, self._stages[entry.stage].attack) for entry in parked]
        for judged in confirm(entries, self._judge, push=not self._setting.transfer):
            self._settle(judged)

    def _settle(self, judged: Judged) -> None:
        entry, holds = judged.entry, judged.holds
        if bool(holds.any()):
            done = entry.samples.take(holds)
            by = torch.full_like(done.ids, entry.stage)
            if entry.state is None and self._smallest and not self._setting.transfer:
                # Found at a smaller eps, it falls at this one, by the attack that found it.
                members = self._setting.members or len(self._stages)
                by = entry.stage - entry.stage % members + done.found_by % members
            self._verdicts.append(
                Verdict(done, by, judged.images[holds], judged.logits[holds], judged.sizes[holds])
            )
        if not bool(holds.all()):
            self._go_on(entry, ~holds)

    def _go_on(self, entry: Candidates, rows: Tensor) -> None:
        """Let samples that were not confirmed go on from where they were."""
        samples = entry.samples.take(rows)
        if entry.state is None:
            # What was found is forgotten: the next lane, or this stage, seeks its own.
            samples = replace(samples, norm=torch.full_like(samples.norm, torch.inf))
            if self._setting.transfer:
                self._lane_done(entry.stage, samples)
                return
            self.flags.add("unconfirmed")
            # Into this stage where its image came from a smaller eps; past the last without one.
            past = self._stages[entry.stage].attack.eps is None
            self._enter(entry.stage + past, samples)
            return
        self.flags.add("unconfirmed")
        stage = self._stages[entry.stage]
        state = entry.state.take(spread(rows, stage.width))
        spent = stage.attack.finished(state).view(-1, stage.width).all(1)
        if bool(spent.any()):
            self._lane_done(entry.stage, samples.take(spent))
        if not bool(spent.all()):
            stage.join(samples.take(~spent), state.take(spread(~spent, stage.width)))
