"""The attacks most used from torchattacks, over the engine.

`atk = PGD(model, eps=8/255, alpha=2/255, steps=10); adv_images = atk(images, labels)`

Differs from torchattacks: where an attack fails the image itself comes back (there: the last
point), and where it succeeds the first image that the model was seen to get wrong, which a fresh
pass has confirmed. So these are for evaluation; adversarial training wants the last point. Draws
are keyed by `seed` and by how many images were attacked before: the same script gives the same
images. Attributes may be changed between calls.

Source: Kim 2020, arXiv:2010.01950, version 3.5.1, for names, arguments and their defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from holdfast.compat.autoattack import NORMS, published_norm
from holdfast.core.errors import BadValueError, unknown_name
from holdfast.core.randomness import checked_seed, keys_for
from holdfast.perturb.attacks import autoattack as ensemble
from holdfast.perturb.attacks import fab, fgsm, pgd, square
from holdfast.perturb.attacks.admission import check_labels
from holdfast.perturb.attacks.apgd import AveragedAPGD
from holdfast.perturb.attacks.craft import craft
from holdfast.perturb.attacks.entrance import (
    Shown,
    as_images,
    as_tensor,
    as_whole,
    check_model,
    evaluating,
    place_of,
)
from holdfast.perturb.attacks.run import Part
from holdfast.perturb.attacks.samples import choose_targets
from holdfast.perturb.base import Classifier

if TYPE_CHECKING:
    import numpy as np

__all__ = ["APGD", "APGDT", "FAB", "FGSM", "PGD", "PGDL2", "AutoAttack", "Square"]

_LOSSES = {"ce": "cross_entropy", "dlr": "dlr", "margin": "margin"}
Wanted = Callable[[Tensor, Tensor], Tensor]  # images, labels -> wanted classes


@dataclass
class _Adapter(ABC):
    """An attack that holds its model, as torchattacks has it.

    Attributes:
        model: Float images [B, C, H, W] in [0, 1] -> logits [B, K].
    """

    model: Classifier
    _: KW_ONLY
    _wanted: Wanted | None = field(default=None, init=False, repr=False)
    _seen: int = field(default=0, init=False, repr=False)  # images attacked before
    _scale: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def part(self) -> Part:
        """The attack with the present settings."""

    def __call__(self, images: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Tensor:
        """Adversarial images [N, C, H, W], on the model's device.

        Args:
            images: float [N, C, H, W] in [0, 1], or normalized after `set_normalization_used`;
                what `holdfast.craft` takes besides is read too, such as arrays.
            labels: True classes, int64 [N]; in targeted mode what chooses the wanted ones.

        Raises:
            HoldfastError: What cannot be used.
        """
        images, labels = self._admitted(images, labels)
        model, pixels = self.model, images
        if self._scale is not None:
            mean, std = (part.to(images.device) for part in self._scale)
            if not images.is_floating_point() or mean.shape[1] not in (1, images.shape[1]):
                raise BadValueError(
                    f"expected normalized float images with {mean.shape[1]} channels, as "
                    f"set_normalization_used says, got {images.dtype} {list(images.shape)}"
                )
            model, pixels = _Normalizing.of(model, mean, std), images * std + mean
        wanted = labels if self._wanted is None else self._wanted(images, labels)
        ids = torch.arange(self._seen, self._seen + len(images))
        self._seen += len(images)
        adversarial = craft(
            self.part(),
            model,
            pixels,
            wanted,
            seed=checked_seed(getattr(self, "seed", None) or 0),
            targeted=self._wanted is not None,
            ids=ids,
        ).images
        return adversarial if self._scale is None else (adversarial - mean) / std

    def set_mode_default(self) -> None:
        """Take any wrong class."""
        self._wanted = None

    def set_mode_targeted_by_function(
        self,
        target_map_function: Wanted,
        quiet: bool = False,  # noqa: FBT001, FBT002 - as published; nothing is printed anyway
    ) -> None:
        """Reach for the classes that a function of images and labels names."""
        self._wanted = target_map_function

    def set_mode_targeted_by_label(self, quiet: bool = False) -> None:  # noqa: FBT001, FBT002
        """Reach for the labels that are given."""
        self._wanted = lambda images, labels: labels

    def set_mode_targeted_random(self, quiet: bool = False) -> None:  # noqa: FBT001, FBT002
        """Reach for a random wrong class."""
        self._wanted = lambda images, labels: self._chosen("random", images, labels)

    def set_mode_targeted_least_likely(
        self,
        kth_min: int = 1,
        quiet: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Reach for the least likely wrong class.

        Raises:
            BadValueError: Another than the least likely is asked for.
        """
        if kth_min != 1:
            raise BadValueError(
                f"kth_min must be 1 here, the least likely class, got {kth_min}; choose others "
                "with set_mode_targeted_by_function"
            )
        self._wanted = lambda images, labels: self._chosen("least_likely", images, labels)

    def set_normalization_used(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say that images are normalized before they come; what goes back is too.

        Args:
            mean: One a channel, in [0, 1] units.
            std: One a channel.

        Raises:
            HoldfastError: Not one or three numbers, or a std that is not above 0.
        """
        scale = []
        for name, values in (("mean", mean), ("std", std)):
            numbers = as_tensor(values, name).detach().float()
            allowed = numbers.isfinite() & ((numbers > 0) if name == "std" else True)
            if numbers.ndim != 1 or len(numbers) not in (1, 3) or not bool(allowed.all()):
                raise BadValueError(
                    f"{name} must have one finite number a channel"
                    f"{', above 0' if name == 'std' else ''}, got {values!r}"
                )
            scale.append(numbers.view(1, -1, 1, 1))
        self._scale = (scale[0], scale[1])

    def _admitted(self, images: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Images and labels as tensors on the model's device."""
        check_model(self.model)
        # Normalized ones are checked once they are pixels again.
        plain = self._scale is None
        images = as_images(images) if plain else as_tensor(images, "images").detach()
        place = place_of(self.model, images)
        return images.to(place), as_whole(labels, "labels", len(images)).to(place)

    def _chosen(self, rule: str, images: Tensor, labels: Tensor) -> Tensor:
        with evaluating(self.model), torch.no_grad():
            logits = Shown(self.model, images.shape)(images)
        check_labels(labels, logits.shape[1])
        ids = torch.arange(self._seen, self._seen + len(images), device=labels.device)
        seed = checked_seed(getattr(self, "seed", None) or 0)
        return choose_targets(rule, logits, labels, keys_for(ids, seed=seed, stream="target"))


class _Normalizing(nn.Module):
    """A model of pixels, from one of normalized images."""

    def __init__(self, model: Classifier, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, mean, std
        self.training = False  # the wrapper's own mode is nobody's business

    @classmethod
    def of(cls, model: Classifier, mean: Tensor, std: Tensor) -> Classifier:
        """Wrap."""
        return cls(model, mean, std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, [B, K]."""
        return self.model((pixels - self.mean) / self.std)


@dataclass
class FGSM(_Adapter):
    """Fast gradient sign method, Linf."""

    eps: float = 8 / 255

    def part(self) -> Part:
        """The attack with the present settings."""
        return fgsm.FGSM(eps=self.eps)


@dataclass
class PGD(_Adapter):
    """Projected gradient descent, Linf."""

    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    random_start: bool = True

    def part(self) -> Part:
        """The attack with the present settings."""
        return pgd.PGD(
            eps=self.eps, step_size=self.alpha, steps=self.steps, random_start=self.random_start
        )


@dataclass
class PGDL2(_Adapter):
    """Projected gradient descent, L2."""

    eps: float = 1.0
    alpha: float = 0.2
    steps: int = 10
    random_start: bool = True
    eps_for_division: float = 1e-10  # zero gradients need none here

    def part(self) -> Part:
        """The attack with the present settings."""
        return pgd.PGD(
            norm="l2",
            eps=self.eps,
            step_size=self.alpha,
            steps=self.steps,
            random_start=self.random_start,
        )


@dataclass
class APGD(_Adapter):
    """AutoPGD on cross-entropy or DLR."""

    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int = 0
    loss: str = "ce"
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False

    def part(self) -> Part:
        """The attack with the present settings."""
        return AveragedAPGD(**_ball(self), **_ascent(self), loss=_loss(self.loss, "ce", "dlr"))


@dataclass
class APGDT(_Adapter):
    """AutoPGD on targeted DLR, one class after the other."""

    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int = 0
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False
    n_classes: int = 10

    def part(self) -> Part:
        """The attack with the present settings."""
        common = {**_ball(self), **_ascent(self)}
        return AveragedAPGD(**common, loss="targeted_dlr", targets=self.n_classes - 1)


@dataclass
class FAB(_Adapter):
    """Fast adaptive boundary attack; alpha_max, eta and beta are those of its authors."""

    norm: str = "Linf"
    eps: float | None = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    verbose: bool = False
    seed: int = 0
    multi_targeted: bool = False
    n_classes: int = 10

    def part(self) -> Part:
        """The attack with the present settings."""
        fixed = {"alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
        for name, value in fixed.items():
            if getattr(self, name) != value:
                raise BadValueError(f"{name} is always {value} here, got {getattr(self, name)}")
        targets = self.n_classes - 1 if self.multi_targeted else None
        return fab.FAB(**_ball(self), steps=self.steps, restarts=self.n_restarts, targets=targets)


@dataclass
class Square(_Adapter):
    """Square attack; the size of its squares follows AutoAttack's schedule (no rescaling)."""

    norm: str = "Linf"
    eps: float = 8 / 255
    n_queries: int = 5000
    n_restarts: int = 1
    p_init: float = 0.8
    loss: str = "margin"
    resc_schedule: bool = False
    seed: int = 0
    verbose: bool = False

    def part(self) -> Part:
        """The attack with the present settings."""
        if self.resc_schedule:
            raise BadValueError(
                "resc_schedule=True is not offered: sizes follow AutoAttack's schedule; leave it "
                "out"
            )
        return square.Square(
            **_ball(self),
            queries=self.n_queries,
            p_init=self.p_init,
            restarts=self.n_restarts,
            loss=_loss(self.loss, "margin", "ce"),  # type: ignore[arg-type]  # one of its losses
        )


@dataclass
class AutoAttack(_Adapter):
    """AutoAttack with the steps that its authors publish (torchattacks: 10 for APGD and FAB)."""

    norm: str = "Linf"
    eps: float = 8 / 255
    version: str = "standard"
    n_classes: int = 10
    seed: int | None = None
    verbose: bool = False

    def part(self) -> Part:
        """The attack with the present settings."""
        return ensemble.AutoAttack(**_ball(self), version=self.version)  # type: ignore[arg-type]


def _ball(attack: Any) -> dict[str, Any]:
    return {"norm": NORMS[published_norm(attack.norm)], "eps": attack.eps}


def _ascent(attack: Any) -> dict[str, Any]:
    return {
        "steps": attack.steps,
        "restarts": attack.n_restarts,
        "rho": attack.rho,
        "repeats": attack.eot_iter,
    }


def _loss(name: str, *known: str) -> str:
    if name not in known:
        raise unknown_name("loss", str(name), known)
    return _LOSSES[name]
