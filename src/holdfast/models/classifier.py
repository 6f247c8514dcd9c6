"""The one thing that is measured: float images in [0, 1] in, logits out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import keys_for
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import digest_state

# What foreign code may raise: anything, and it may try to end the program.
FOREIGN_ERRORS = (Exception, SystemExit)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 section 2.5.1
_PROBED = 2  # images of the probe
_ANY_SIZES = ((32, 32), (224, 224), (28, 28), (64, 64), (8, 8))  # tried where any size is said
_SUM_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 1e-1}  # of a softmax row; else 1e-5


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a classifier besides its weights.

    Attributes:
        name: What was typed.
        preprocessing: Size, channels and normalization.
        identity: Text for run ids: the code, not the weights; free of machine paths.
        source_digest: Sha256 of the file that built the network; empty for others.
        fresh_keys: Weights that no file gave.
        flags: What a reader of its numbers must know.
    """

    name: str
    preprocessing: Preprocessing
    identity: str
    source_digest: str = ""
    fresh_keys: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()


class Classifier:
    """A network with its preprocessing, in evaluation mode.

    Callable on float images [B, C, H, W] in [0, 1], C of 1 or 3; gives float32 logits [B, K].
    Gray input of a color network is repeated; color input of a gray network becomes luma
    (ITU-R BT.601). Images of other sizes than the network's are resized inside, so that a
    perturbation acts on the pixels it was handed.

    Flags: `train_mode` (the module arrived in train mode), `nonfinite_logits` (the probe gave
    NaN or infinity).
    """

    def __init__(
        self, net: Callable[[Tensor], Tensor], card: Card, device: torch.device | str = "cpu"
    ) -> None:
        self.net = net
        self.card = card
        self.flags = card.flags
        self._classes = 0  # until the probe
        self._behavior = ""
        if isinstance(net, nn.Module):
            if any(module.training for module in net.modules()):
                self.flags |= {"train_mode"}
            net.eval()
        self.to(device)

    def __repr__(self) -> str:
        return f"Classifier({self.name!r}, {self.card.preprocessing}, device={self.device})"

    @property
    def name(self) -> str:
        """What was typed."""
        return self.card.name

    @property
    def preprocessing(self) -> Preprocessing:
        """Size, channels and normalization."""
        return self.card.preprocessing

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width that the network takes; None takes any size."""
        return self.card.preprocessing.input_size

    @property
    def source_digest(self) -> str:
        """Sha256 of the user's file that builds the network; empty for other sources."""
        return self.card.source_digest

    @property
    def fresh_keys(self) -> tuple[str, ...]:
        """Weights that no file gave: a fresh head, or all of an untrained network."""
        return self.card.fresh_keys

    @property
    def classes(self) -> int:
        """Number of classes K; runs the probe when it has not been run."""
        if not self._classes:
            self.probe()
        return self._classes

    @property
    def parameter_count(self) -> int:
        """Number of parameters; 0 for a callable that is no module."""
        return sum(p.numel() for p in self._own_parameters())

    @cached_property
    def digest(self) -> str:
        """Sha256 of the weights; of the probe's logits for a callable without any.

        Computed once: wrap a network again after training it on.
        """
        state = self.net.state_dict() if isinstance(self.net, nn.Module) else {}
        return digest_state(state) if state else self.behavior

    @property
    def behavior(self) -> str:
        """Sha256 of the probe's logits, to the last bit: the same on the same machine only."""
        if not self._behavior:
            self.probe()
        return self._behavior

    @cached_property
    def identity(self) -> str:
        """Text that with `digest` and `source_digest` says what is measured.

        Objects in memory have no name that says what their code does, so what the probe gave
        stands for it: the same weights under another `forward` are another model.
        """
        card = self.card
        code = card.identity or f"{_qualified(self.net)}#{self.behavior[:16]}"
        return f"{code} [{card.preprocessing}]"

    def to(self, device: torch.device | str) -> Classifier:
        """Move the network, in place."""
        self.device = torch.device(device)
        if isinstance(self.net, nn.Module):
            self.net.to(self.device)
        with torch.inference_mode(False):  # a constant made there cannot take part in autograd
            self._mean = self._per_channel(self.card.preprocessing.mean)
            self._std = self._per_channel(self.card.preprocessing.std)
            self._luma = self._per_channel(_LUMA)
        return self

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Do the model's own resize and center crop: uint8 [H, W, 3] -> uint8 [h, w, 3]."""
        return self.card.preprocessing.prepare(image)

    def resize(self, images: Tensor, *, crop: bool) -> Tensor:
        """Bring images [B, C, H, W] in [0, 1] to the network's size; differentiable.

        Args:
            images: Of any size.
            crop: True does the model's own resize and center crop, False scales both sides.
        """
        preprocessing = self.card.preprocessing
        if self.input_size is None or images.shape[2:] == self.input_size:
            return images
        return preprocessing.cut(images) if crop else preprocessing.stretch(images)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits, float32 [B, K], in evaluation mode.

        Raises:
            BadTypeError: Not float images.
            BadValueError: Not [B, 1 or 3, H, W], or the network does not give logits [B, K].
        """
        if isinstance(self.net, nn.Module) and self.net.training:
            self.net.eval()
        return self.forward(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits in whatever mode the network is in: for training loops."""
        _check_images(images)
        output = self.net(self._network_input(images))
        return _checked(output, len(images), self.name).float()

    def probe(self) -> Classifier:
        """Run the network on two fixed noise images, to learn K and what is wrong with it.

        Raises:
            BadValueError: The network fails on images of its size, does not give one row of
                logits an image, gives probabilities, or has fewer than two classes.
        """
        output = self._first_output()
        logits = _checked(output, _PROBED, self.name)
        if logits.shape[1] < 2:
            raise BadValueError(
                f"{self.name} has {logits.shape[1]} outputs, and a classifier needs two or more; "
                "give a two-class model two logits, such as (0, z) for a single logit z"
            )
        if _look_like_probabilities(logits):
            raise BadValueError(
                f"{self.name} returns probabilities: each row lies in [0, 1] and sums to 1. "
                "Losses, attacks and calibration need logits: return the values before softmax"
            )
        if not bool(logits.isfinite().all()):
            self.flags |= {"nonfinite_logits"}
        self._classes = logits.shape[1]
        numbers = logits.detach().float().cpu().contiguous().numpy()
        self._behavior = hashlib.sha256(numbers.tobytes()).hexdigest()
        return self

    def _first_output(self) -> Any:
        tried: list[str] = []
        failures: list[BaseException] = []
        for size in [self.input_size] if self.input_size else _ANY_SIZES:
            images = self._probe_images(size)
            tried.append(str(list(images.shape)))
            try:
                # Not inference_mode: some networks keep tensors of their first pass.
                with torch.no_grad():
                    return self.net(self._network_input(images))
            except FOREIGN_ERRORS as error:
                failures.append(error)
        said = [f"{type(failure).__name__}: {failure}" for failure in failures]
        # One and the same error at every size has another cause than the size.
        other_cause = self.input_size is not None or len(set(said)) == 1
        hint = "" if other_cause else "; give its size, as an attribute input_size = (H, W)"
        raise BadValueError(
            f"{self.name} fails on images {', '.join(tried)}: {said[0]}{hint}"
        ) from failures[0]

    def _probe_images(self, size: tuple[int, int]) -> Tensor:
        keys = keys_for(torch.arange(_PROBED), seed=0, stream="probe")
        return keys.uniform(self.card.preprocessing.channels, *size).float().to(self.device)

    def _network_input(self, images: Tensor) -> Tensor:
        images = self._fitted(images.to(self.device))
        channels = self.card.preprocessing.channels
        if channels == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        elif channels == 1 and images.shape[1] == 3:
            images = (images * self._luma.to(images.dtype)).sum(1, keepdim=True)
        if self.card.preprocessing.mean:
            images = (images - self._mean.to(images.dtype)) / self._std.to(images.dtype)
        return images.to(self.dtype) if self.dtype is not None else images

    def _fitted(self, images: Tensor) -> Tensor:
        size = self.input_size
        if size is None:
            return images
        same_aspect = images.shape[2] * size[1] == images.shape[3] * size[0]
        return self.resize(images, crop=not same_aspect)

    @property
    def dtype(self) -> torch.dtype | None:
        """What the weights are in, and images are cast to; None for a network without any."""
        kinds = (p.dtype for p in self._own_parameters() if p.is_floating_point())
        return next(kinds, None)

    def _own_parameters(self) -> Iterator[nn.Parameter]:
        return self.net.parameters() if isinstance(self.net, nn.Module) else iter(())

    def _per_channel(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).view(1, -1, 1, 1)


def _check_images(images: Any) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise BadTypeError(
            f"expected float images in [0, 1], got {kind}; divide 8-bit pixels by 255"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise BadValueError(
            f"expected images [B, C, H, W] with 1 or 3 channels, got {list(images.shape)}"
        )


def _checked(output: Any, count: int, name: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise BadValueError(
            f"{name} returns {_described(output)}; expected one tensor of logits [B, K]: "
            "return that part alone"
        )
    if output.ndim != 2 or not output.is_floating_point():
        raise BadValueError(
            f"{name} returns {output.dtype} {list(output.shape)} for {count} images; "
            "expected float logits [B, K], one row an image"
        )
    if len(output) != count:
        raise BadValueError(
            f"{name} returns {len(output)} rows for {count} images; expected one row an image"
        )
    return output


def _described(output: Any) -> str:
    if isinstance(output, dict):
        return f"a dict with {', '.join(map(str, list(output)[:5]))}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {len(output)}"
    return f"an object of type {type(output).__name__}"


def _look_like_probabilities(logits: Tensor) -> bool:
    tolerance = _SUM_TOLERANCE.get(logits.dtype, 1e-5)
    rows = logits.double()
    inside = (rows >= 0) & (rows <= 1)
    return bool(inside.all() and ((rows.sum(1) - 1).abs() <= tolerance).all())


def _qualified(thing: object) -> str:
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
