"""The interface of fra31/auto-attack over the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.compat._state import State, identity_of
from holdfast.compat._telling import LOGGER, tell_flags, telling
from holdfast.core.errors import BadTypeError, BadValueError, unknown_name
from holdfast.core.randomness import checked_seed
from holdfast.perturb.attacks.apgd import APGD, AveragedAPGD
from holdfast.perturb.attacks.base import Attack
from holdfast.perturb.attacks.craft import Crafted, Crafting
from holdfast.perturb.attacks.entrance import Shown, as_images, as_whole, evaluating
from holdfast.perturb.attacks.fab import FAB
from holdfast.perturb.attacks.run import AttackRun, default_slots
from holdfast.perturb.attacks.square import Square
from holdfast.perturb.base import Classifier

if TYPE_CHECKING:
    import numpy as np

NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
# What a version runs: fra31/auto-attack, `set_version`.
MEMBERS: Mapping[str, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
    "custom": (),
}
_RAND_REPEATS = 20
_L1_RESTARTS, _L1_TARGETS = 5, 5
# The evaluation sets them itself, or they are about other things than numbers.
_WITHOUT_EFFECT = ("device", "logger", "seed", "targeted", "verbose")


def published_norm(norm: Any) -> str:
    """Linf, L2 or L1, in any case.

    Raises:
        UnknownNameError: Another norm.
    """
    found = {known.lower(): known for known in NORMS}.get(str(norm).lower())
    if found is None:
        raise unknown_name("norm", str(norm), NORMS)
    return found


class Settings:
    """Attributes of one attack, such as `adversary.apgd.n_restarts`, which scripts set.

    Raises:
        UnknownNameError: On setting what the attack does not have.
        BadValueError: On setting what cannot be another value here.
    """

    def __init__(self, kind: str, free: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
        own = {"_kind": kind, "_free": frozenset(free), "_fixed": dict(fixed)}
        vars(self).update({**free, **fixed, **own})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed:
            if value != self._fixed[name]:
                raise BadValueError(
                    f"{self._kind}.{name} is always {self._fixed[name]!r} here, got {value!r}"
                )
            return
        if name not in (*self._free, *_WITHOUT_EFFECT):
            raise unknown_name(f"setting of {self._kind}", name, self._free | set(self._fixed))
        vars(self)[name] = value

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class AutoAttack:
    """AutoAttack with the arguments, attributes and methods of fra31/auto-attack.

    Differs: a sample leaves when it falls; every image that is given back was confirmed by a
    fresh pass; any number of classes from 2; the same seed, 0 if none is given, gives the same
    numbers in any batch size; `bs` bounds the images in one pass; where a device cuda is asked
    for and none is there, the CPU takes its place; a module in training mode is evaluated in
    evaluation mode (except in version rand, whose models are random on purpose) and given back
    as it was. TensorFlow models are refused.

    Attributes:
        model: What is attacked: float images [B, C, H, W] in [0, 1] -> logits [B, K].
        norm: Linf, L2 or L1.
        epsilon: Radius in pixels of [0, 1], of all attacks.
        seed: Keys all draws.
        verbose: Log a summary, to standard output where no logging is set up.
        version: standard, plus, rand or custom.
        attacks_to_run: Names among apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, in their order.
        apgd, apgd_targeted, fab, square: `Settings`, which may be changed before a run.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the published signature
        self,
        model: Classifier,
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        verbose: bool = True,  # noqa: FBT001, FBT002
        attacks_to_run: Sequence[str] = (),
        version: str = "standard",
        is_tf_model: bool = False,  # noqa: FBT001, FBT002
        device: str | torch.device = "cuda",
        log_path: str | Path | None = None,
    ) -> None:
        if is_tf_model:
            raise BadValueError("expected a model that takes and gives torch tensors")
        self.norm = norm
        if version not in MEMBERS:
            raise unknown_name("version", str(version), MEMBERS)
        if version != "custom" and len(attacks_to_run):
            raise BadValueError(
                f"attacks_to_run goes with version='custom', got version={version!r}, which has "
                f"its own: {', '.join(MEMBERS[version])}"
            )
        self.model, self.epsilon, self.seed = model, eps, seed
        self.verbose, self.log_path = verbose, log_path
        self.device = _present(device)
        self.attacks_to_run = list(attacks_to_run)
        common = {"eps": eps, "norm": self.norm}
        steps = {"n_iter": 100, "eot_iter": 1, "rho": 0.75, "use_largereps": False}
        self.apgd = Settings("apgd", {**steps, "n_restarts": 5}, common)
        self.apgd_targeted = Settings(
            "apgd_targeted", {**steps, "n_restarts": 1, "n_target_classes": 9}, common
        )
        self.fab = Settings(
            "fab",
            {"n_iter": 100, "n_restarts": 5, "n_target_classes": 9},
            {**common, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9},
        )
        self.square = Settings(
            "square",
            {"n_queries": 5000, "n_restarts": 1, "p_init": 0.8},
            {**common, "resc_schedule": False},
        )
        self.set_version(version)

    @property
    def norm(self) -> str:
        """Linf, L2 or L1; read in any case."""
        return self._norm

    @norm.setter
    def norm(self, norm: str) -> None:
        self._norm = published_norm(norm)

    def set_version(self, version: str = "standard") -> None:
        """Set the attacks of a version, and their settings as published."""
        if version not in MEMBERS:
            raise unknown_name("version", str(version), MEMBERS)
        self.version = version
        if version == "custom":
            return
        self.attacks_to_run = list(MEMBERS[version])
        l1 = self.norm == "L1" and version == "standard"
        self.apgd.n_restarts = 5 if version == "plus" else _L1_RESTARTS if l1 else 1
        self.apgd.eot_iter = _RAND_REPEATS if version == "rand" else 1
        self.apgd.use_largereps = self.apgd_targeted.use_largereps = l1
        self.apgd_targeted.n_restarts = 1
        self.apgd_targeted.n_target_classes = _L1_TARGETS if l1 else 9
        self.fab.n_restarts = 5 if version == "plus" else 1
        self.fab.n_target_classes = 9
        self.square.n_queries = 5000

    def run_standard_evaluation(
        self,
        x_orig: Tensor | np.ndarray,
        y_orig: Tensor | np.ndarray,
        bs: int = 250,
        return_labels: bool = False,  # noqa: FBT001, FBT002
        state_path: str | Path | None = None,
    ) -> Any:
        """Attack with all of `attacks_to_run`, one after the other until a sample falls.

        Args:
            x_orig: float [N, C, H, W] in [0, 1]; what `holdfast.craft` takes besides is read too,
                such as arrays. Tensors come back.
            y_orig: True classes, int64 [N].
            bs: Images in one pass, at most.
            return_labels: Whether the predicted classes are given back too.
            state_path: File that keeps finished samples, once a minute and at the end, however
                that comes. When it is there already they are taken from it, images included; a
                file of another evaluation is refused.

        Returns:
            Adversarial images [N, C, H, W], the own ones where a sample stands; with
            `return_labels` a pair of them and the predicted classes [N].

        Raises:
            HoldfastError: What cannot be used.
        """
        with telling(verbose=self.verbose, log_path=self.log_path):
            began = time.monotonic()
            images, labels = _given(x_orig, y_orig)
            found = self._evaluated(self.attacks_to_run, images, labels, bs, state_path)
            self._tell(found, time.monotonic() - began)
        return _result(found, images, labels, labels_too=return_labels)

    def run_standard_evaluation_individual(
        self,
        x_orig: Tensor | np.ndarray,
        y_orig: Tensor | np.ndarray,
        bs: int = 250,
        return_labels: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """Attack all samples with each of `attacks_to_run` alone; results by name."""
        results = {}
        images, labels = _given(x_orig, y_orig)
        with telling(verbose=self.verbose, log_path=self.log_path):
            for name in self.attacks_to_run:
                found = self._evaluated([name], images, labels, bs, None)
                LOGGER.info("robust accuracy by %s %.2f%%", name.upper(), _percent(found.fallen))
                tell_flags(found.flags)
                results[name] = _result(found, images, labels, labels_too=return_labels)
        return results

    def clean_accuracy(
        self, x_orig: Tensor | np.ndarray, y_orig: Tensor | np.ndarray, bs: int = 250
    ) -> float:
        """Part of the images that are given their class."""
        _check_batch(bs)
        images, right = as_images(x_orig), 0
        labels = as_whole(y_orig, "labels", len(images)).to(self.device)
        show = Shown(self.model, images.shape)
        with evaluating(self.model), torch.no_grad():
            for start in range(0, len(images), bs):
                rows = slice(start, start + bs)
                given = show(images[rows].to(self.device)).argmax(1)
                right += int((given == labels[rows]).sum())
        return right / len(images)

    def attacks(self, names: Sequence[str] | None = None) -> tuple[Attack, ...]:
        """What the names stand for, with the present settings.

        Raises:
            UnknownNameError: A name that nobody knows.
            BadValueError: No name, or a setting that an attack refuses.
        """
        known: dict[str, Callable[[], Attack]] = {
            "apgd-ce": lambda: self._apgd(self.apgd, loss="cross_entropy"),
            "apgd-dlr": lambda: self._apgd(self.apgd, loss="dlr"),
            "apgd-t": lambda: self._apgd(
                self.apgd_targeted,
                loss="targeted_dlr",
                targets=self.apgd_targeted.n_target_classes,
            ),
            "fab": lambda: FAB(**self._ball, steps=self.fab.n_iter, restarts=self.fab.n_restarts),
            # Its restarts are one, whatever `fab.n_restarts` says, as in the original.
            "fab-t": lambda: FAB(
                **self._ball, steps=self.fab.n_iter, targets=self.fab.n_target_classes
            ),
            "square": lambda: Square(
                **self._ball,
                queries=self.square.n_queries,
                restarts=self.square.n_restarts,
                p_init=self.square.p_init,
            ),
        }
        wanted = self.attacks_to_run if names is None else names
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise unknown_name("attack", str(unknown[0]), known)
        return tuple(known[name]() for name in wanted)

    @property
    def _ball(self) -> dict[str, Any]:
        if self.epsilon is None:
            raise BadTypeError("epsilon must be a number such as 8/255, got None")
        return {"norm": NORMS[self.norm], "eps": self.epsilon}

    def _apgd(self, settings: Settings, **others: Any) -> APGD:
        l1 = self.norm == "L1"
        common = {
            **self._ball,
            "steps": settings.n_iter,
            "restarts": settings.n_restarts,
            "rho": settings.rho,
            "large_eps": settings.use_largereps if l1 else None,
            **others,
        }
        if settings.eot_iter == 1:
            return APGD(**common)
        return AveragedAPGD(**common, repeats=settings.eot_iter)

    def _evaluated(
        self,
        names: Sequence[str],
        images: Tensor,
        labels: Tensor,
        most: int,
        state_path: str | Path | None,
    ) -> Crafted:
        if not len(names):
            raise BadValueError("attacks_to_run is empty: name attacks, such as ['apgd-ce']")
        _check_batch(most)
        run = AttackRun(self.attacks(names))
        crafting = Crafting(run.sized(min(most, default_slots(images))), images, labels)
        seed = 0 if self.seed is None else checked_seed(self.seed)
        state = None
        if state_path is not None:
            identity = identity_of(crafting, self.model, (images, labels), seed)
            state = State(state_path, crafting, identity)
        model = self.model if self.version != "rand" else _as_it_is(self.model)
        try:
            with closing(crafting.steps(model, seed=seed, device=self.device)) as steps:
                for _ in steps:
                    if state is not None:
                        state.keep()
        finally:
            if state is not None:
                state.keep(now=True)
        return crafting.results()[0]

    def _tell(self, found: Crafted, seconds: float) -> None:
        names = dict(zip(found.members, self.attacks_to_run, strict=True))
        standing, count = len(found), max(1, len(found))
        lines = [f"using {self.version} version including {', '.join(self.attacks_to_run)}"]
        for member in ("clean", *found.members):
            standing -= found.broken_by.count(member)
            after = "initial accuracy" if member == "clean" else "robust accuracy after "
            lines.append(f"{after}{names.get(member, '').upper()}: {standing / count:.2%}")
        sizes = found.norm[found.norm.isfinite()]
        largest = float(sizes.max()) if len(sizes) else 0.0
        evals, gradients = int(found.forward_evals.sum()), int(found.gradient_evals.sum())
        lines += [
            f"max {self.norm} perturbation: {largest:.5f}",
            f"model evaluations: {evals:,}, {gradients:,} with gradients ({seconds:.1f} s)",
            f"robust accuracy: {standing / count:.2%}",
        ]
        LOGGER.info("\n".join(lines))
        tell_flags(found.flags)


def _check_batch(size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise BadValueError(f"bs must be a whole number from 1, got {size!r}")


def _present(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise BadValueError(f"expected a device such as cpu or cuda:0, got {device!r}") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        LOGGER.warning("no cuda device here: the CPU takes its place; pass device='cpu'")
        return torch.device("cpu")
    return place


def _as_it_is(model: Classifier) -> Classifier:
    """The model without being known as a module, which would be put into evaluation mode."""

    def show(images: Tensor) -> Tensor:
        return model(images)

    return show


def _given(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Images and labels as tensors; float images keep their type, which is given back."""
    pixels = as_images(images)
    if isinstance(images, Tensor) and images.is_floating_point():
        pixels = images
    whole = as_whole(labels, "labels", len(pixels))
    return pixels, labels if isinstance(labels, Tensor) else whole


def _percent(fallen: Tensor) -> float:
    return 100 * float((~fallen).double().mean())


def _result(found: Crafted, images: Tensor, labels: Tensor, *, labels_too: bool) -> Any:
    adversarial = found.images.to(images.dtype)
    if not labels_too:
        return adversarial
    return adversarial, found.logits.argmax(1).to(labels.device, labels.dtype)
