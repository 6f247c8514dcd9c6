"""Signs that an evaluation says less than it seems to: flags in the record.

They follow AutoAttack's checks (Croce and Hein 2020, arXiv:2003.01690, `flags_doc`) and the
signs of masked gradients in the literature (Athalye, Carlini and Wagner 2018, arXiv:1802.00420,
section 3.1; Carlini et al. 2019, arXiv:1902.06705, section 5). They look at a few samples only,
so that their evaluations hardly count beside the attack's.

Those at the end of a run attack samples that stand, of those that this process has seen: after a
resume they know nothing of what was finished before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from holdfast.perturb.attacks.base import Attack
from holdfast.perturb.attacks.engine import Engine, Setting
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.samples import Samples, Verdict
from holdfast.perturb.base import Batch

_FEW = 16  # samples looked at
_REPEATS = 4  # further passes in which a randomized model shows itself: 5 in all, as in AutoAttack
_ROUNDING = 1e-4  # of logits, relative to their size, between two equal passes (AutoAttack)
_SUM_ROUNDING = 1e-5  # of a softmax row (AutoAttack)
_FEW_STEPS = 10
_HUGE_EPS = 0.5  # Linf: every image can become the same gray one


class Checks:
    """Watches the verdicts of a run and says at its end what a reader must know.

    Flags: `randomized` (equal images, other logits), `softmax_outputs`, `dynamic_defense` (the
    model differentiates while it predicts), `few_classes` (a loss or the number of targets had to
    give way), `fewer_steps_stronger` (PGD with 10 steps breaks what longer attacks did not),
    `stands_at_huge_eps` (an image stands although every pixel may become gray).

    Attributes:
        found: What was noticed so far.
    """

    def __init__(
        self, attacks: Sequence[Attack], judge: Evaluator, search: Evaluator, *, seed: int
    ) -> None:
        self._attacks = attacks
        self._judge = judge
        self._search = search
        self._repeats = search.repeats  # before an engine changes it from attack to attack
        self._seed = seed
        self.found: set[str] = set()
        self._standing: Samples | None = None
        self._looked = 0  # samples that were shown again

    def see(self, verdict: Verdict) -> None:
        """Take note of some verdicts."""
        if self._looked < _FEW:
            count = min(_FEW - self._looked, len(verdict.samples))
            some = verdict.samples.take(torch.arange(count, device=verdict.samples.ids.device))
            self._looked += count
            with torch.no_grad():
                self._look(some)
        stands = verdict.stage == len(self._attacks)
        if bool(stands.any()):
            mine = verdict.samples.take(stands)
            known = [mine] if self._standing is None else [self._standing, mine]
            merged = Samples.concat(known)
            # Those with the smallest ids, so that the order of arrival decides nothing.
            self._standing = merged.take(merged.ids.argsort()[:_FEW])

    def flags(self) -> frozenset[str]:
        """All that was noticed; attacks the standing samples again, briefly."""
        # What stands a targeted attack may well fall to any wrong class.
        untargeted = all(attack.target is None for attack in self._attacks)
        white = any(attack.gradients for attack in self._attacks)
        if self._standing is not None and untargeted and white:
            self._check_strength(self._standing)
        return frozenset(self.found)

    def _look(self, few: Samples) -> None:
        logits = few.logits
        scale = logits.abs().amax().clamp_min(1e-12)
        for _ in range(_REPEATS):
            with _differentiations() as seen:
                again, _ = self._judge.logits(few.images)
            if seen:
                self.found.add("dynamic_defense")
            if float((again - logits).abs().amax() / scale) > _ROUNDING:
                self.found.add("randomized")
        if _are_probabilities(logits):
            self.found.add("softmax_outputs")
        classes = logits.shape[1]
        if any(attack.short_of_classes(classes) for attack in self._attacks):
            self.found.add("few_classes")

    def _check_strength(self, samples: Samples) -> None:
        last = self._attacks[-1]
        longest = max((getattr(a, "steps", 0) for a in self._attacks if a.gradients), default=0)
        if last.eps is not None and longest > _FEW_STEPS:
            brief = PGD(norm=last.norm, eps=last.eps, steps=_FEW_STEPS)
            if self._again(brief, samples)[0]:
                self.found.add("fewer_steps_stronger")
        huge = PGD(norm="linf", eps=_HUGE_EPS, steps=_FEW_STEPS)
        if self._again(huge, samples)[1]:
            self.found.add("stands_at_huge_eps")

    def _again(self, attack: Attack, samples: Samples) -> tuple[int, int]:
        """How many samples fall to a further attack, and how many stand it.

        A randomized model may get some wrong without it, which are neither.
        """
        setting = Setting(_FEW, self._seed, repeats=(self._repeats,))
        engine = Engine([attack], self._search, self._judge, setting)
        batch = Batch(samples.images, samples.labels, samples.ids)
        stages = torch.cat([verdict.stage for verdict in engine.run([batch])])
        return int((stages == 0).sum()), int((stages == 1).sum())


@contextmanager
def _differentiations() -> Iterator[list[str]]:
    """Names of autograd's entry points that are called meanwhile, by whatever import."""
    watched = {torch.autograd.grad.__code__, torch.autograd.backward.__code__}
    seen: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in watched:
            seen.append(frame.f_code.co_name)

    if sys.getprofile() is not None:  # somebody profiles: leave them their figures
        yield seen
        return
    sys.setprofile(watch)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def _are_probabilities(logits: Tensor) -> bool:
    inside = (logits >= 0) & (logits <= 1)
    sums = (logits.double().sum(1) - 1).abs() <= _SUM_ROUNDING
    return bool(inside.all()) and bool(sums.all())
