"""The attack inside a training step, as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.core.specs import build, canonical, format_spec, parse_spec
from holdfast.perturb.attacks.base import ATTACKS, Attack
from holdfast.perturb.attacks.inner import worst_images
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import attacked


@dataclass(frozen=True)
class Inner:
    """An attack, or none where its radius is 0.

    Attributes:
        text: Canonical.
        attack: None where eps is 0: images stay what they are.
    """

    text: str
    attack: Attack | None

    @classmethod
    def of(cls, text: str) -> Inner:
        """Read `NAME` or `NAME(key=value, ...)` of an attack; eps=0 moves nothing.

        Raises:
            UnknownNameError: No such attack or parameter.
            BadValueError: A value out of range, several radii, or no single attack.
        """
        return _read(text)

    def applied(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """The batch with what the attack makes of its images; itself where nothing is moved."""
        if self.attack is None:
            return batch
        return replace(batch, adversarial=self.worst(classifier, batch, rng))

    def worst(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> Tensor:
        """What the attack makes of the images, [B, C, H, W]."""
        if self.attack is None:
            return batch.images
        keys = rng.to(batch.images.device)
        return worst_images(self.attack, attacked(classifier), batch.images, batch.labels, keys)

    def grown(self, factor: float) -> Inner:
        """The same with its radius, and a step size that was given, times a factor in [0, 1]."""
        if self.attack is None or factor == 1:
            return self
        if factor == 0:
            spec = parse_spec(self.text)
            return Inner.of(format_spec(spec.name, {**dict(spec.arguments), "eps": 0}))
        changes = {"eps": float(self.attack.eps) * factor}
        step = getattr(self.attack, "step_size", None)
        if step is not None:
            changes["step_size"] = float(step) * factor
        grown = replace(self.attack, **changes)  # type: ignore[type-var]
        return Inner(canonical(grown.name, grown), grown)


@lru_cache(maxsize=256)
def _read(text: str) -> Inner:
    spec = parse_spec(text)
    arguments = dict(spec.arguments)
    if arguments.get("eps") == 0:
        # Checked with a radius that is allowed; what is written says 0.
        rest = {key: value for key, value in arguments.items() if key != "eps"}
        build("attack", spec.name, ATTACKS[spec.name], rest)
        return Inner(format_spec(spec.name, {"eps": 0, **rest}), None)
    attack = build("attack", spec.name, ATTACKS[spec.name], arguments)
    if getattr(attack, "restarts", 1) != 1:
        raise BadValueError(
            f"{text} starts several times; inside training an attack starts once: "
            "leave restarts out"
        )
    if attack.eps is None:
        raise BadValueError(
            f"{text} seeks the smallest perturbation; inside training an attack needs a radius: "
            "write eps=8/255, or take pgd"
        )
    return Inner(canonical(spec.name, attack), attack)
