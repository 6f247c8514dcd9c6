"""What an attack is: a state machine over lanes, driven by the engine's only loop.

An attack owns no loop. `start` makes the state of fresh lanes, `ask` says which images it wants
to see through the classifier and where it wants gradients, `tell` takes the answer. All lanes
of a call are independent of each other: what happens to a lane may not depend on which others
stand beside it, so every operation is row-wise. Restarts of a sample are walked one after the
other, and only while it stands; target classes stand side by side (`Attack.side_by_side`).

The engine, not the attack, notices falls: any image that is asked for, lies within eps and is
given a wrong class (or, in targeted mode, the wanted one) is a candidate, which a fresh pass
then confirms. Sources are in the files of the attacks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor

from holdfast.core.errors import BadTypeError, BadValueError, unknown_name
from holdfast.core.randomness import Keys
from holdfast.core.registry import Registry
from holdfast.core.specs import SMALLEST_PART
from holdfast.perturb.attacks._lanes import Lanes
from holdfast.perturb.attacks.balls import BALLS, Ball
from holdfast.perturb.base import Classifier

Norm = Literal["linf", "l2", "l1"]
UNTARGETED = -1
A = TypeVar("A", bound="Attack")


@dataclass(frozen=True)
class Task:
    """What fresh lanes are given.

    Attributes:
        images: The samples' own images, float32 [L, C, H, W] in [0, 1].
        labels: True classes, int64 [L].
        targets: Class that the attack must reach, int64 [L]; -1 where any wrong class will do.
        logits: Of the own images, float32 [L, K].
        lane: Which restart or target class of its sample a lane is, int64 [L], from 0.
        keys: One random stream a lane; lanes of one sample have different ones.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    logits: Tensor
    lane: Tensor
    keys: Keys

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return self.logits.shape[1]


@dataclass(frozen=True)
class Query:
    """Images that an attack wants to see through the classifier.

    Attributes:
        images: [L, C, H, W] in [0, 1]; may be a buffer of the attack's state, which nobody
            changes before `tell`.
        gradient: Which lanes want the gradients of their scores, bool [L].
    """

    images: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Answer:
    """What the classifier said.

    Attributes:
        logits: float32 [L, K], finite: where the classifier gave NaN or infinity, the engine has
            put zeros and flagged the sample.
        scores: What was differentiated, float32 [L, G]; [L, 0] where no lane asked.
        gradients: Of each score with respect to the images, float32 [L, G, C, H, W]; zeros in
            lanes that did not ask, and [L, 0, C, H, W] where no lane asked.
    """

    logits: Tensor
    scores: Tensor
    gradients: Tensor


@dataclass
class State(Lanes):
    """Base of an attack's state; attacks add fields, all lane-first tensors.

    Attributes:
        labels: True classes, int64 [L].
        aims: Class that the lane's scores pull towards, int64 [L]; -1 for away from the label.
            A lane of a user's targeted run aims at the user's target.
    """

    labels: Tensor
    aims: Tensor


Eps = Fraction | float  # in pixels of [0, 1]
Target = str | int  # a class, or a rule that chooses one from the clean logits
TARGET_RULES = ("second", "least_likely", "random")
_LARGEST_EPS = {"linf": 1.0, "l2": math.inf, "l1": math.inf}
_LEVELS = 255  # the largest of an 8-bit pixel
_FLOAT32 = 2**-24  # rounding of a float32, relative: 8/255 computed in it is 8/255
# Radii at which models are customarily compared: RobustBench (Croce et al. 2021,
# arXiv:2010.09670) for Linf and L2 on CIFAR-10, Croce and Hein 2021, arXiv:2103.01208, for L1.
CUSTOMARY_EPS: Mapping[str, Eps] = {"linf": Fraction(8, 255), "l2": 0.5, "l1": 12.0}
CUSTOMARY: Any = None  # as the default of a field `eps`: what is customary in the norm


class OnImages:
    """What can be called on images, as scripts for other attack libraries do."""

    def __call__(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        targeted: bool = False,  # noqa: FBT001, FBT002 - adv-lib and AttackBench call it so
    ) -> Tensor:
        """Adversarial images where the attack succeeds, the images themselves elsewhere.

        Args:
            model: Callable on float images [B, C, H, W] in [0, 1] that gives logits [B, K].
            images: float [N, C, H, W] in [0, 1].
            labels: True classes, int64 [N]; the wanted ones where `targeted`.
            targeted: Whether the model shall give `labels`, instead of anything else.

        Returns:
            float32 [N, C, H, W], on the device of `images`; `craft` tells more of them.

        Raises:
            HoldfastError: As `craft`.
        """
        from holdfast.perturb.attacks.craft import craft  # noqa: PLC0415 - which imports this file

        found = craft(self, model, images, labels, targeted=targeted)  # type: ignore[arg-type]
        return found.images


class Attack(OnImages, ABC):
    """Base of all attacks; subclasses are frozen dataclasses whose fields people type.

    Every subclass has the fields `norm`, `eps` (None where a minimum-norm attack runs on to its
    budget) and `target` (None: any wrong class). Its `__post_init__` calls `check`.
    """

    name: ClassVar[str]  # set by `attack`
    gradients: ClassVar[bool] = True  # False: black box, asks for no gradient
    minimum_norm: ClassVar[bool] = False  # seeks the smallest perturbation
    norm: Any
    eps: Any
    target: Any
    steps: Any  # of those that take steps
    repeats: Any = 1  # draws of a randomized model over which its gradients are averaged
    # False: a last pass without a gradient only shows the judge where the lane ended.
    last_pass_counts: ClassVar[bool] = True

    @property
    def ball(self) -> Ball:
        """Geometry of the norm."""
        return BALLS[self.norm]

    def check(self) -> None:
        """Refuse a wrong norm, eps or target, and bring norm and eps to their canonical form.

        An eps that is not given is the norm's customary one, except where the smallest norm is
        sought.

        Raises:
            BadTypeError: eps is no number.
            BadValueError: A value out of range.
            UnknownNameError: A norm or a rule for targets that nobody knows.
        """
        object.__setattr__(self, "norm", canonical_norm(self.norm))
        if self.eps is not None or not self.minimum_norm:
            object.__setattr__(self, "eps", canonical_eps(self.eps, self.norm))
        check_target(self.target)

    @property
    def short(self) -> str:
        """Name in an ensemble, such as `apgd-t`."""
        return self.name

    def short_of_classes(self, classes: int) -> bool:
        """Whether a loss or the number of targets must give way at so few classes."""
        return False

    def lanes(self, classes: int) -> int:
        """How many restarts or target classes a sample gets, in all."""
        return 1

    def side_by_side(self, classes: int) -> int:
        """How many consecutive lanes of a sample are walked together, in step.

        Restarts come one after the other, since most samples that fall do so in the first. Who
        is attacked class by class has mostly stood already, and will need all the classes.
        """
        return 1

    @property
    def lane_passes(self) -> int:
        """Forward passes of a lane that goes to its end, those with gradients included."""
        return int(self.steps) + 1

    def passes(self, classes: int) -> int:
        """Forward passes of a sample that stands: the whole budget."""
        return self.lanes(classes) * self.lane_passes

    @property
    def reads_logits(self) -> bool:
        """Whether `start` reads the task's logits; False: not even how many classes there are."""
        return True

    @abstractmethod
    def start(self, task: Task) -> State:
        """State of fresh lanes."""

    @abstractmethod
    def ask(self, state: Any) -> Query:
        """What to evaluate next; every unfinished lane asks for exactly one image."""

    def scores(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        """What to differentiate, [L, G], from logits [L, K] under autograd; greater is worse."""
        raise NotImplementedError(f"{self.name} asks for no gradient")

    def known(self, state: Any) -> tuple[Tensor, ...]:
        """What `scores` is told besides the logits, lane first: labels and aims, if no more."""
        return state.labels, state.aims

    @abstractmethod
    def tell(self, state: Any, answer: Answer) -> State:
        """Take the answer to the last `ask`; may change the tensors of `state` in place."""

    @abstractmethod
    def finished(self, state: Any) -> Tensor:
        """Lanes whose budget is spent, bool [L]; asked after each `tell`."""

    def result(self, state: Any) -> Tensor:
        """Images that the lanes have come to, [L, C, H, W]: what a network is trained on.

        Attacks whose state has no `points`, or something better, say what; minimum-norm attacks
        are not asked, since their smallest adversarial image is kept for them.
        """
        points: Tensor = state.points
        return points


def canonical_norm(norm: Any) -> str:
    """Read the name of a norm in any case: Linf is linf.

    Raises:
        UnknownNameError: A norm that nobody knows.
    """
    found = str(norm).lower()
    if found not in BALLS:
        raise unknown_name("norm", str(norm), BALLS)
    return found


def canonical_eps(eps: Any, norm: str) -> Eps:
    """Check a radius, and give its one form: k/255 where it is that, else a float.

    None stands for the customary radius of the norm.

    Raises:
        BadTypeError: No number.
        BadValueError: Not positive, not finite, or given on the scale 0..255.
    """
    if eps is None:
        return CUSTOMARY_EPS[norm]
    if type(eps).__module__ in ("numpy", "torch") and getattr(eps, "ndim", None) == 0:
        eps = eps.item()  # a number of these libraries
    if isinstance(eps, bool) or not isinstance(eps, int | float | Fraction):
        quoted = "; write it without quotes" if isinstance(eps, str) else ""
        raise BadTypeError(f"eps must be a number such as 8/255, got {eps!r}{quoted}")
    if not 0 < eps < math.inf:
        raise BadValueError(f"eps must be above 0 and finite, as in eps=8/255, got {eps}")
    if eps > _LARGEST_EPS[norm]:
        meant = f"; did you mean {float(eps):g}/255?" if eps <= _LEVELS else ", as in eps=8/255"
        raise BadValueError(
            f"eps={eps} is larger than the whole range of a pixel: eps is in pixels of [0, 1]"
            f"{meant}"
        )
    # One text for one radius: 8/255, but 0.2, 0.5 and 12.0, however it was written.
    level = round(float(eps) * _LEVELS)
    part = Fraction(level, _LEVELS)
    exact = level > 0 and abs(level / _LEVELS - float(eps)) <= _FLOAT32 * float(eps)
    return part if exact and part.denominator >= SMALLEST_PART else float(eps)


def check_target(target: Any) -> None:
    """Refuse a target that is neither a class nor a known rule."""
    if target is None or (type(target) is int and target >= 0):
        return
    if not isinstance(target, str):
        raise BadValueError(
            f"target must be a class from 0 or one of {', '.join(TARGET_RULES)}, got {target!r}"
        )
    if target not in TARGET_RULES:
        raise unknown_name("rule for targets", target, TARGET_RULES)


ATTACKS: Registry[type[Attack]] = Registry("attack")


attack = ATTACKS.named  # the decorator of each
