"""Adversarial images of tensors: attacks for scripts.

A measurement keeps numbers; whoever trains on adversarial images, looks at them or hands them on
wants the images themselves, in the order in which the clean ones came.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import checked_seed
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.base import Attack
from holdfast.perturb.attacks.entrance import (
    Shown,
    as_images,
    as_whole,
    check_model,
    evaluating,
    place_of,
)
from holdfast.perturb.attacks.run import AttackRun, Part
from holdfast.perturb.attacks.samples import CLEAN
from holdfast.perturb.base import Batch, Classifier, Outcome

if TYPE_CHECKING:
    import numpy as np

_READ = 256  # images handed to the engine at a time, which cuts them to its slots


@dataclass(frozen=True, repr=False)
class Crafted:
    """What became of N images, in the order in which they were given.

    Attributes:
        images: Adversarial where fallen, the clean image elsewhere, float32 [N, C, H, W].
        logits: Of these images, float32 [N, K]; NaN where they were not finite from the start.
        fallen: Given a wrong class (in a targeted run: the wanted one) within eps, bool [N].
            Samples that were wrong from the start count.
        norm: Size of the perturbation, float64 [N]; 0 where wrong from the start, NaN where the
            sample stands.
        broken_by: Name of the attack that broke each; `clean` where wrong from the start, None
            where the sample stands.
        forward_evals: Evaluations of the model, int64 [N]; a pass with its gradient counts once.
        gradient_evals: Those of them with a gradient, int64 [N].
        flags: What a reader must know, such as `train_mode`; see `holdfast.records.FLAGS`.
        condition: Canonical text of the attack.
        members: Names of its attacks, in their order.
    """

    images: Tensor
    logits: Tensor
    fallen: Tensor
    norm: Tensor
    broken_by: tuple[str | None, ...]
    forward_evals: Tensor
    gradient_evals: Tensor
    flags: frozenset[str]
    condition: str
    members: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.fallen)

    def __repr__(self) -> str:
        fallen = f"{int(self.fallen.sum())} of {len(self)} fallen"
        flags = f", flags {', '.join(sorted(self.flags))}" if self.flags else ""
        return f"Crafted({fallen} under {self.condition}{flags})"

    @property
    def robust_accuracy(self) -> float:
        """Part of the samples that stand; NaN where there are none."""
        return float((~self.fallen).double().mean())


def craft(  # noqa: PLR0913 - the public face; each is a keyword a person may want
    run: AttackRun | Part | str,
    model: Classifier,
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    seed: int = 0,
    targeted: bool = False,
    ids: Tensor | np.ndarray | None = None,
) -> Crafted:
    """Attack images, and give back the adversarial ones.

    A module is put into evaluation mode meanwhile and given back as it came. It is run where its
    parameters are, and the results come back on the device of `images`.

    Args:
        run: Attack, or its text, such as "autoattack(norm=l2, eps=1/2)" or
            "apgd(eps=8/255) + square(norm=linf, eps=8/255)".
        model: Callable on float images [B, C, H, W] in [0, 1] that gives logits [B, K], such as a
            module or what `holdfast.load_model` gives. A module is shown images of the type of
            its parameters.
        images: float [N, C, H, W] in [0, 1], uint8 [N, C, H, W], or an array of pictures, uint8
            [N, H, W, C].
        labels: True classes, int64 [N]; the wanted ones where `targeted`.
        seed: Keys all draws.
        targeted: Whether the model shall give `labels`. What it says of the clean images then
            stands for the true classes, and an image that it gives the wanted class already has
            fallen with norm 0.
        ids: What keys each sample's draws, int64 [N], no two alike; 0..N-1 if not given.

    Raises:
        BadTypeError: No attack, no model, no images, or labels that are no whole numbers.
        BadValueError: No image at all, images outside [0, 1] or such as the model does not take,
            labels out of range, an attack at several eps (`craft_levels` takes those), or one
            that cannot aim.
        UnknownNameError: A text that names no attack.
    """
    crafting = Crafting(run, images, labels, targeted=targeted, ids=ids)
    if len(crafting.specs) != 1:
        raise BadValueError(
            f"craft gives one set of images and so takes one eps, got {len(crafting.specs)}: "
            "take craft_levels, which gives one set for each"
        )
    return crafting.finish(model, seed=seed)[0]


def craft_levels(  # noqa: PLR0913 - as `craft`
    run: AttackRun | Part | str,
    model: Classifier,
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    seed: int = 0,
    targeted: bool = False,
    ids: Tensor | np.ndarray | None = None,
) -> tuple[Crafted, ...]:
    """Attack images at several eps at once, such as "pgd(eps=[2/255, 4/255])".

    One result for each eps, ascending. What has fallen at an eps has fallen at all larger ones,
    with the same image; evaluations are told where they were made, those of the clean images
    and of confirmations at the smallest eps. Arguments and errors are those of `craft`.
    """
    crafting = Crafting(run, images, labels, targeted=targeted, ids=ids)
    return crafting.finish(model, seed=seed)


def attack(spec: str) -> AttackRun:
    """Make a function of an attack's text: `attack("pgd(eps=8/255)")(model, images, labels)`.

    It gives back the adversarial images; `craft` tells what became of each.

    Raises:
        BadValueError: A text that is no single attack, or a value that the attack refuses.
        UnknownNameError: A name that nobody knows.
    """
    # The parser knows all perturbations, this file among them.
    from holdfast.perturb.conditions import parse_conditions  # noqa: PLC0415

    if not isinstance(spec, str):
        raise BadTypeError(f"an attack is a text such as pgd(eps=8/255), got {spec!r}")
    found = [part for part in parse_conditions(spec) if part.spec != "clean"]
    if len(found) == 1 and isinstance(found[0], AttackRun):
        return found[0]
    if len(found) > 1:
        raise BadValueError(
            f"expected one attack, got {len(found)} conditions in {spec!r}; several attacks that "
            "are tried one after the other are joined by plus signs, as in fgsm + pgd"
        )
    raise BadValueError(f"{spec!r} is no attack; `holdfast list attacks` shows all")


@dataclass
class Columns:
    """What is known of all samples at one eps; as `Crafted`, but for `code`.

    Attributes:
        code: Place of the attack that broke a sample in `members`; -1 from the start, their
            number where it stands; int64 [N].
    """

    images: Tensor
    logits: Tensor
    norm: Tensor
    code: Tensor
    forward_evals: Tensor
    gradient_evals: Tensor

    @classmethod
    def fresh(cls, images: Tensor, members: int) -> Columns:
        """Before anything is known: all samples stand."""
        count = len(images)
        zeros = torch.zeros(count, dtype=torch.int64, device=images.device)
        nan = torch.full((count,), torch.nan, dtype=torch.float64, device=images.device)
        logits = torch.zeros(count, 0, device=images.device)
        columns = zeros + members, zeros.clone(), zeros.clone()
        return cls(images.clone(), logits, nan, *columns)

    def put(self, rows: Tensor, outcome: Outcome) -> None:
        """Take what became of some samples."""
        classes = outcome.logits.shape[1]
        if self.logits.shape[1] != classes:
            self.logits = self.images.new_full((len(self.images), classes), torch.nan)
        found = {
            "images": outcome.images,
            "logits": outcome.logits,
            "norm": outcome.extra["norm"],
            "code": outcome.extra["broken_by"],
            "forward_evals": outcome.forward_evals,
            "gradient_evals": outcome.gradient_evals,
        }
        for name, column in found.items():
            own: Tensor = getattr(self, name)
            own[rows] = column.to(own.device, own.dtype)


class Crafting:
    """A crafting under way, for those who watch it or keep what is finished.

    Attributes:
        run: What is crafted.
        specs: Its canonical text at each eps.
        done: Samples that are finished, bool [N].
        levels: What is known of them, by eps.
        flags: What was noticed so far.
    """

    def __init__(
        self,
        run: AttackRun | Part | str,
        images: Tensor | np.ndarray,
        labels: Tensor | np.ndarray,
        *,
        targeted: bool = False,
        ids: Tensor | np.ndarray | None = None,
    ) -> None:
        given = as_run(run)
        self.specs = tuple(condition.spec for condition in given.conditions)
        self.run = _aimed(given) if targeted else given
        if given.slots is not None and given.slots < 1:
            raise BadValueError(f"batch size must be a whole number from 1, got {given.slots}")
        with torch.inference_mode(False):  # what was made in it cannot take part in autograd
            self._images = as_images(images)
            self._labels = as_whole(labels, "labels", len(self._images))
            count = len(self._images)
            numbers = torch.arange(count) if ids is None else as_whole(ids, "ids", count)
            members = len(self.run.members)
            self.levels = [Columns.fresh(self._images, members) for _ in self.specs]
            self.done = torch.zeros(count, dtype=torch.bool)
        self._ids, self._order = numbers.cpu().sort()
        if bool((self._ids.diff() == 0).any()):
            raise BadValueError("ids key each sample's draws, so that no two may be alike")
        self._numbers = numbers
        self.flags: frozenset[str] = frozenset()

    def finish(self, model: Classifier, *, seed: int = 0) -> tuple[Crafted, ...]:
        """Go on to the end; one result for each eps."""
        for _ in self.steps(model, seed=seed):
            pass
        return self.results()

    def steps(
        self, model: Classifier, *, seed: int = 0, device: torch.device | None = None
    ) -> Generator[int]:
        """Go on, and yield the number of finished samples each time that some more are.

        Args:
            model: As `craft`.
            seed: Keys all draws.
            device: Where the model takes its images; None: where a module's parameters are, or
                the images themselves.
        """
        check_model(model)
        with evaluating(model) as flags:
            self.flags |= flags
            device = device or place_of(model, self._images)
            shown = Shown(model, self._images.shape)
            outcomes = self.run.run(self._batches(device), shown, checked_seed(seed))
            while True:
                with torch.inference_mode(False):
                    outcome = next(outcomes, None)
                    if outcome is None:
                        return
                    self._add(outcome)
                yield int(self.done.sum())

    def results(self) -> tuple[Crafted, ...]:
        """What became of the samples, one result for each eps; unfinished ones stand."""
        members = self.run.members
        names = {**dict(enumerate(members)), CLEAN: "clean"}
        return tuple(
            Crafted(
                images=columns.images,
                logits=columns.logits,
                fallen=columns.code != len(members),
                norm=columns.norm,
                broken_by=tuple(names.get(code) for code in columns.code.tolist()),
                forward_evals=columns.forward_evals,
                gradient_evals=columns.gradient_evals,
                flags=self.flags,
                condition=spec,
                members=members,
            )
            for spec, columns in zip(self.specs, self.levels, strict=True)
        )

    def _batches(self, device: torch.device) -> Iterator[Batch]:
        for rows in torch.split((~self.done).nonzero()[:, 0], _READ):
            mine = rows.to(self._images.device)
            yield Batch(
                self._images[mine].to(device),
                self._labels[rows.to(self._labels.device)].to(device),
                self._numbers[rows.to(self._numbers.device)].to(device),
            )

    def _add(self, outcome: Outcome) -> None:
        self.flags |= outcome.flags
        if not len(outcome.ids):
            return
        rows = self._order[torch.searchsorted(self._ids, outcome.ids.cpu())]
        self.levels[outcome.condition].put(rows.to(self._images.device), outcome)
        if outcome.condition == len(self.levels) - 1:  # those of a sample come together, ascending
            self.done[rows] = True


def as_run(run: AttackRun | Part | str) -> AttackRun:
    """Bring an attack, an ensemble or a text to what can be run.

    Raises:
        BadTypeError: Something else.
    """
    if isinstance(run, AttackRun):
        return run
    if isinstance(run, Attack | AutoAttack):
        return AttackRun((run,))
    return attack(run)


def _aimed(run: AttackRun) -> AttackRun:
    """The run whose attacks reach for the labels that they are given."""
    parts = []
    for part in run.parts:
        if isinstance(part, AutoAttack):
            raise BadValueError(
                "autoattack takes any wrong class and cannot aim: join attacks that can, such as "
                "apgd(eps=8/255) + square(norm=linf, eps=8/255)"
            )
        if part.target is not None:
            raise BadValueError(
                f"{part.name} has a target already, target={part.target}: leave it out where the "
                "labels are the wanted classes"
            )
        # Any rule tells an attack that it aims; the engine does not ask it.
        changed: Mapping[str, object] = {"target": "second"}
        if getattr(part, "targets", None) is not None:
            changed = {**changed, "targets": None}
        parts.append(replace(part, **changed))  # type: ignore[type-var]  # all are dataclasses
    return replace(run, parts=tuple(parts), aimed=True)
