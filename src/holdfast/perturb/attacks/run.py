"""An attack as a perturbation: one or several attacks at one or several eps, measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.specs import format_spec
from holdfast.perturb.attacks.autoattack import AutoAttack, settings
from holdfast.perturb.attacks.base import Attack, Eps, OnImages
from holdfast.perturb.attacks.checks import Checks
from holdfast.perturb.attacks.engine import Engine, Setting
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.samples import CLEAN, GIVEN, Verdict
from holdfast.perturb.base import Batch, Classifier, Outcome, Perturbation

# Lanes at a time on a CPU, for images up to 64 px and above; multiples of the 9 classes that
# AutoAttack aims at side by side leave no slot empty.
_SLOTS, _LARGE_SLOTS = 144, 18
_DEVICE_SLOTS, _LARGE_DEVICE_SLOTS = 576, 72  # on an accelerator
_SMALL_SIDE = 64
_SQUARE_MARGIN = 0.002  # of the samples: a black box that breaks more is stronger (AutoAttack)

Part = Attack | AutoAttack


@dataclass(frozen=True)
class AttackRun(OnImages, Perturbation):
    """The worst case per sample over some attacks, at each of some eps.

    Attributes:
        parts: Attacks and ensembles, tried one after the other until a sample falls; without
            an eps all of them, and the smallest image counts. All have the same norm; their own
            eps stands where `eps` is empty.
        eps: Radii that are tried, ascending. A sample that fell at one has fallen at all larger
            ones.
        measured: Places in `eps` that are measured; empty: all.
        source: Name of the model on which the attacks are crafted, where it is not the measured
            one.
        slots: Lanes evaluated at a time; None chooses by image size and device.
        aimed: Labels of the batches are the classes that the attacks shall reach.

    Raises:
        BadValueError: No attack, several norms, targets or eps, or radii that do not ascend.
    """

    parts: tuple[Part, ...]
    eps: tuple[Eps | None, ...] = ()
    measured: tuple[int, ...] = ()
    source: str | None = None
    slots: int | None = None
    aimed: bool = False

    def __post_init__(self) -> None:
        if not self.parts:
            raise BadValueError("an attack needs at least one part, such as PGD(eps=8/255)")
        for what in ("norm", "target") if self.eps else ("norm", "target", "eps"):
            found = {getattr(part, what) for part in self.parts}
            if len(found) > 1:
                raise BadValueError(
                    f"attacks that are joined must have one {what}, got "
                    f"{', '.join(sorted(map(str, found)))}"
                )
        # The parts check the values, and bring them to their canonical form.
        wanted = self.eps or (self.parts[0].eps,)
        eps = tuple(with_eps(self.parts[0], radius).eps for radius in wanted)
        if len(eps) > 1 and any(low >= high for low, high in itertools.pairwise(eps)):
            raise BadValueError(
                f"several eps must ascend, got {', '.join(str(radius) for radius in wanted)}"
            )
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "measured", self.measured or tuple(range(len(eps))))

    @property
    def spec(self) -> str:
        first = self.measured[0]
        several = self.eps[first:] if len(self.measured) > 1 else self.eps[first]
        texts = []
        for part in self.parts:
            written = {**settings(part), "eps": several, "after": self.eps[:first] or None}
            texts.append(format_spec(part.name, written))
        origin = f" from {self.source}" if self.source else ""
        return " + ".join(texts) + origin

    @property
    def kind(self) -> str:
        return "attack"

    @property
    def slow(self) -> bool:
        return True

    @property
    def conditions(self) -> tuple[Perturbation, ...]:
        """One condition an eps; each knows which smaller ones come before it."""
        if len(self.measured) == 1:
            return (self,)
        return tuple(
            replace(self, eps=self.eps[: place + 1], measured=(place,)) for place in self.measured
        )

    def only(self, conditions: Sequence[Perturbation]) -> AttackRun:
        wanted = [part for part in conditions if isinstance(part, AttackRun)]
        places = tuple(sorted(place for part in wanted for place in part.measured))
        return replace(self, eps=self.eps[: places[-1] + 1], measured=places)

    def crafted_on(self, source: str) -> AttackRun:
        return replace(self, source=source)

    def sized(self, batch_size: int | None) -> AttackRun:
        return replace(self, slots=batch_size)

    @property
    def members(self) -> tuple[str, ...]:
        """Short names of the attacks, in their order; no two alike."""
        names = [attack.short for attack in self._attacks(self.eps[0])]
        earlier = [names[:place].count(name) for place, name in enumerate(names)]
        return tuple(
            f"{name}-{before + 1}" if before else name
            for name, before in zip(names, earlier, strict=True)
        )

    def budgets(self, classes: int) -> tuple[int, ...]:
        """Forward passes of a standing sample in each of `members`, at one radius."""
        attacks = self._attacks(self.eps[0])
        return tuple(
            attack.passes(classes) * repeats
            for attack, repeats in zip(attacks, self._repeats, strict=True)
        )

    @property
    def names(self) -> Mapping[str, Mapping[int, str]]:
        known = {CLEAN: "clean", **dict(enumerate(self.members))}
        return {"broken_by": known}

    def columns(self) -> Mapping[str, float | int | str | None]:
        eps = self.eps[self.measured[-1]]
        steps = {part.steps for part in self.parts if hasattr(part, "steps")}
        return {
            "norm": self.parts[0].norm,
            "eps": None if eps is None else float(eps),
            "steps": steps.pop() if len(steps) == 1 and len(self.parts) == 1 else None,
        }

    def judge(self, samples: Mapping[str, np.ndarray]) -> frozenset[str]:
        """`black_box_stronger`: Square broke what the attacks with gradients had spared."""
        attacks = self._attacks(self.eps[0])
        blind = [name for name, a in zip(self.members, attacks, strict=True) if not a.gradients]
        seeing = len(blind) < len(attacks) and self.source is None
        broken = np.isin(samples["broken_by"].astype(str), blind).sum()
        margin = max(1, _SQUARE_MARGIN * len(samples["broken_by"]))
        return frozenset({"black_box_stronger"} if seeing and broken > margin else ())

    def run(self, batches: Iterable[Batch], classifier: Classifier, seed: int) -> Iterator[Outcome]:
        """Outcomes of finished samples, for each eps in turn.

        Extra columns: `norm` (size of the perturbation; 0 where wrong from the start, NaN where
        the sample stands), `broken_by` (place of the attack in `members`; -1 from the start,
        their number where the sample stands) and `evals_NAME`, forward passes in each attack.
        """
        stream = iter(batches)
        first = next(stream, None)
        if first is None:
            return
        slots = self.slots or default_slots(first.images)
        judge = Evaluator(classifier, slots)
        search = Evaluator(getattr(classifier, "search", classifier), slots, max(self._repeats))
        attacks = [attack for eps in self.eps for attack in self._attacks(eps)]
        target = GIVEN if self.aimed else self.parts[0].target
        setting = Setting(
            slots,
            seed,
            target,
            members=len(self.members),
            transfer=self.source is not None,
            repeats=self._repeats * len(self.eps),
        )
        engine = Engine(attacks, search, judge, setting)
        checks = Checks(attacks, judge, search, seed=seed)
        told: set[str] = set()
        for verdict in engine.run(itertools.chain([first], stream)):
            checks.see(verdict)
            found = engine.flags | search.flags | judge.flags | checks.found
            if found - told:  # at once: the run may be stopped or killed before its end
                told = found
                yield Outcome.only_flags(frozenset(found))
            yield from self._outcomes(verdict)
        # What is crafted on another model says nothing of gradients or of the search on this one.
        last = checks.found if self.source is not None else checks.flags()
        flags = engine.flags | search.flags | judge.flags | last
        yield Outcome.only_flags(frozenset(flags))

    @property
    def _repeats(self) -> tuple[int, ...]:
        """Draws over which each of `members` averages its gradients; one for black boxes."""
        found: list[int] = []
        for part in self.parts:
            wanted = part.repeats
            attacks = part.attacks if isinstance(part, AutoAttack) else [part]
            found += [wanted if attack.gradients else 1 for attack in attacks]
        return tuple(found)

    def _attacks(self, eps: Eps | None) -> list[Attack]:
        found: list[Attack] = []
        for part in self.parts:
            sized = part if eps is None else with_eps(part, eps)
            found += sized.attacks if isinstance(sized, AutoAttack) else [sized]
        return found

    def _outcomes(self, verdict: Verdict) -> Iterator[Outcome]:
        count = len(self.members)
        for condition, place in enumerate(self.measured):
            yield _outcome(verdict, self.members, count * place, condition=condition)


def with_eps(part: Any, eps: Any) -> Any:
    """The attack or ensemble at another radius, which it checks."""
    return replace(part, eps=eps)


def _by_member(passes: Tensor, members: int) -> Tensor:
    """Sum passes [B, levels * M] over the levels, [B, M]."""
    return passes.reshape(len(passes), -1, members).sum(1)


def _outcome(verdict: Verdict, members: Sequence[str], start: int, *, condition: int) -> Outcome:
    """What became of the samples at the level whose stages begin at `start`."""
    samples, count = verdict.samples, len(members)
    fell = verdict.stage < start + count
    shape = (-1, *[1] * (verdict.images.ndim - 1))
    # Each level has its own passes; those of radii that are not measured count for the first.
    mine = slice(0 if condition == 0 else start, start + count)
    forward = _by_member(samples.forward[:, mine], count)
    gradient = samples.gradient[:, mine]
    # Confirmations count where the sample fell, or at the last level; the clean pass at the first.
    here = (verdict.stage >= mine.start) | (condition == 0)
    here &= fell | (start + count == samples.forward.shape[1] - 1)
    others = (samples.forward[:, -1] - 1) * here + (condition == 0)
    by = torch.where(verdict.stage == CLEAN, CLEAN, verdict.stage % count)
    extra: dict[str, Tensor] = {
        "norm": torch.where(fell, verdict.norm, torch.nan),
        "broken_by": torch.where(fell, by, count),
    }
    extra |= {f"evals_{name}": forward[:, place] for place, name in enumerate(members)}
    return Outcome(
        ids=samples.ids,
        labels=samples.labels,
        images=torch.where(fell.view(shape), verdict.images, samples.images),
        logits=torch.where(fell[:, None], verdict.logits, samples.logits),
        forward_evals=forward.sum(1) + others,
        gradient_evals=gradient.sum(1),
        extra=extra,
        condition=condition,
        originals=samples.images,
    )


def default_slots(images: Tensor) -> int:
    """Lanes to evaluate at a time for images [B, C, H, W], by their size and device."""
    small = max(images.shape[2:]) <= _SMALL_SIDE
    if images.device.type == "cpu":
        return _SLOTS if small else _LARGE_SLOTS
    return _DEVICE_SLOTS if small else _LARGE_DEVICE_SLOTS
