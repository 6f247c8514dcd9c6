"""AutoAttack: four attacks that need no tuning, each sample walking on until it falls."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks.apgd import APGD
from holdfast.perturb.attacks.base import (
    CUSTOMARY,
    Attack,
    Eps,
    Norm,
    OnImages,
    canonical_eps,
    canonical_norm,
)
from holdfast.perturb.attacks.fab import FAB
from holdfast.perturb.attacks.square import Square

VERSIONS = ("standard", "plus", "rand")
_RAND_REPEATS = 20  # expectation over the randomness of the model, of version rand
_TARGETS, _TARGETS_L1 = 9, 5
_RESTARTS = 5


@dataclass(frozen=True)
class AutoAttack(OnImages):
    """AutoAttack as published, in its versions standard, plus and rand.

    standard: APGD on cross-entropy, targeted APGD on DLR (9 classes), targeted FAB (9 classes),
    Square (5,000 queries). plus: more restarts, untargeted APGD on DLR and FAB besides. rand: for
    randomized models, APGD on both losses with gradients averaged over 20 draws. The settings
    for L1 (5 restarts, 5 targets, larger eps first) are those of its authors. An eps that is not
    given is Linf 8/255, L2 0.5 or L1 12.

    The authors give L1 settings for version standard alone; here its larger eps come first in
    the other two as well.

    Differs from the authors' program: any number of classes from 2 (the margin where DLR is not
    defined, at most K - 1 targets), draws keyed by sample, a sample leaves when it falls.

    Source: Croce and Hein 2020, arXiv:2003.01690; for L1 Croce and Hein 2021, arXiv:2103.01208.
    """

    name: ClassVar[str] = "autoattack"

    norm: Norm = "linf"
    eps: Eps = CUSTOMARY
    version: Literal["standard", "plus", "rand"] = "standard"

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", canonical_norm(self.norm))
        if self.version not in VERSIONS:
            raise BadValueError(
                f"version must be one of {', '.join(VERSIONS)}, got {self.version!r}"
            )
        object.__setattr__(self, "eps", canonical_eps(self.eps, self.norm))

    @property
    def target(self) -> None:
        """AutoAttack takes any wrong class."""
        return

    @property
    def repeats(self) -> int:
        """Draws over which gradients are averaged."""
        return _RAND_REPEATS if self.version == "rand" else 1

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """Its attacks in their order."""
        common: dict[str, Any] = {"norm": self.norm, "eps": self.eps}
        l1 = self.norm == "l1"
        if self.version == "rand":
            return APGD(**common), APGD(**common, loss="dlr")
        if self.version == "plus":
            return (
                APGD(**common, restarts=_RESTARTS),
                APGD(**common, loss="dlr", restarts=_RESTARTS),
                FAB(**common, restarts=_RESTARTS),
                Square(**common),
                APGD(**common, loss="targeted_dlr", targets=_TARGETS),
                FAB(**common, targets=_TARGETS),
            )
        return (
            APGD(**common, restarts=_RESTARTS if l1 else 1),
            APGD(**common, loss="targeted_dlr", targets=_TARGETS_L1 if l1 else _TARGETS),
            FAB(**common, targets=_TARGETS),
            Square(**common),
        )


def settings(part: Any) -> dict[str, Any]:
    """What a person may write for an attack or an ensemble: names and values of its fields."""
    return {f.name: getattr(part, f.name) for f in fields(part)}
