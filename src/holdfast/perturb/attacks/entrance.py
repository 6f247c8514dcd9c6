"""What people hand over: arrays, tensors and models of many kinds, brought to what is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.core.errors import BadTypeError, BadValueError, HoldfastError
from holdfast.perturb.attacks.admission import admit_images
from holdfast.perturb.base import Classifier

_CHANNELS = (1, 3)
# What torch and models raise where images do not suit them.
_UNSUITED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def as_tensor(part: Any, what: str = "data") -> Tensor:
    """Read an array as a tensor; of 8-bit pictures [N, H, W, C] the channels come first then.

    Raises:
        BadTypeError: What holds no numbers.
    """
    if isinstance(part, Tensor):
        return part
    array = np.asarray(part)
    if array.dtype.kind not in "biuf":
        raise BadTypeError(
            f"expected {what} as a tensor or an array of numbers, got {type(part).__name__}"
        )
    # Torch knows neither the other order of bytes nor negative strides.
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(native)
    pictures = array.ndim == 4 and array.dtype == np.uint8 and array.shape[-1] in _CHANNELS
    return tensor.permute(0, 3, 1, 2) if pictures else tensor


def as_images(images: Any) -> Tensor:
    """Float32 images [N, C, H, W] in [0, 1], of a tensor or an array; 8-bit ones are divided.

    Args:
        images: Float [N, C, H, W] in [0, 1]; uint8 as a tensor [N, C, H, W], or as an array
            [N, H, W, C].

    Raises:
        BadTypeError: Neither a tensor nor an array, or of another type.
        BadValueError: No image, another shape, or values outside [0, 1].
    """
    if not isinstance(images, Tensor | np.ndarray):
        raise BadTypeError(f"expected images as a tensor or array, got {type(images).__name__}")
    tensor = as_tensor(images, "images")
    if tensor.dtype == torch.uint8:
        tensor = tensor.float() / 255
    found = admit_images(tensor)
    if found.numel() == 0:
        raise BadValueError(f"expected at least one image, got {tuple(tensor.shape)}")
    return found


def as_whole(numbers: Any, what: str, count: int) -> Tensor:
    """Whole numbers int64 [count], of a tensor, an array or a list.

    Raises:
        BadTypeError: Other things.
        BadValueError: Not one for each image.
    """
    found = as_tensor(numbers, what).detach()
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise BadTypeError(f"{what} must be whole numbers, int64 [N], got {found.dtype}")
    if found.shape != (count,):
        raise BadValueError(f"expected {what} [{count}], one an image, got {list(found.shape)}")
    return found.to(torch.int64)


def check_model(model: Any) -> None:
    """Refuse what cannot be shown images.

    Raises:
        BadTypeError: A text or anything else that cannot be called.
    """
    if isinstance(model, str):
        raise BadTypeError(
            f"expected a model that can be called, got the text {model!r}: load it first, with "
            f"holdfast.load_model({model!r})"
        )
    if not callable(model):
        raise BadTypeError(
            f"expected a module or another function from images to logits, got {model!r}"
        )


def place_of(model: object, images: Tensor) -> torch.device:
    """Where the model takes its images: at its parameters, where it says; else where they are."""
    if isinstance(model, nn.Module):
        first = next(model.parameters(), None)
        return images.device if first is None else first.device
    told = getattr(model, "device", None)
    return told if isinstance(told, torch.device) else images.device


@contextmanager
def evaluating(model: object) -> Iterator[frozenset[str]]:
    """Keep a module in evaluation mode while the block runs; give flags, of its mode before."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(model, nn.Module) and any(modes):
        model.eval()
    try:
        yield frozenset({"train_mode"} if any(modes) else ())
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


class Shown:
    """A model as the engine sees it: float32 goes in and comes out, and its answers are looked at.

    Args:
        model: What is shown the images.
        shape: Of all images, for the error where the model does not take them.

    Attributes:
        search: What is attacked in its place. A module's attribute of that name is its own
            business, such as that of a network found by a search.
    """

    def __init__(self, model: Classifier, shape: torch.Size) -> None:
        check_model(model)
        self._model = model
        self._shape = list(shape)
        self._dtype = _dtype_of(model)
        self._classes = 0  # of its answers; before the first one 0
        twin = None if isinstance(model, nn.Module) else getattr(model, "search", None)
        self.search: Classifier = twin or self

    def __call__(self, images: Tensor) -> Tensor:
        logits = self._model(images.to(self._dtype)) if self._classes else self._first(images)
        if not isinstance(logits, Tensor):
            raise BadValueError(
                f"the model returns {type(logits).__name__}; expected one tensor of logits "
                "[B, K]: return that part alone"
            )
        if logits.ndim != 2 or len(logits) != len(images):
            raise BadValueError(
                f"the model returns {list(logits.shape)} for {len(images)} images; expected "
                "logits [B, K], one row an image"
            )
        self._classes = self._classes or logits.shape[1]
        if logits.shape[1] != self._classes:
            raise BadValueError(
                f"the model gave {self._classes} classes at first and then {logits.shape[1]}: it "
                "must always give the same number of logits"
            )
        return logits.float()

    def _first(self, images: Tensor) -> Tensor:
        try:
            return self._model(images.to(self._dtype))
        except (HoldfastError, torch.OutOfMemoryError):
            raise
        except _UNSUITED as error:
            told = (str(error) or type(error).__name__).splitlines()[0]
            last = self._shape[1] not in _CHANNELS and self._shape[3] in _CHANNELS
            first = ", channels first: images.permute(0, 3, 1, 2)" if last else ""
            raise BadValueError(
                f"the model fails on images {self._shape}: {told}; give images of its size and "
                f"channels{first}"
            ) from error


def _dtype_of(model: object) -> torch.dtype:
    """Of a module's parameters; what has none takes float32."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    found = (part.dtype for part in parameters if part.is_floating_point())
    return next(found, torch.float32)
