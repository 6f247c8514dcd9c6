"""What may enter an attack: images in the box, labels that the model knows, cut to size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.base import Batch

_ROUNDING = 1e-4  # an image that was normalized and back is this far outside


def admit(batch: Batch) -> Batch:
    """The batch with contiguous float32 images, clamped where rounding put them outside [0, 1].

    Raises:
        BadTypeError: The images are not floating point.
        BadValueError: They are not [B, C, H, W], or lie outside [0, 1] by more than rounding.
    """
    return Batch(admit_images(batch.images), batch.labels.long(), batch.ids.long())


def admit_images(images: Tensor) -> Tensor:
    """Contiguous float32 images [B, C, H, W] within [0, 1]; raises as `admit`."""
    if not images.is_floating_point():
        raise BadTypeError(f"expected float images in [0, 1], got {images.dtype}; divide by 255")
    if images.ndim != 4:
        raise BadValueError(f"expected images [B, C, H, W], got {list(images.shape)}")
    images = images.detach().float().contiguous()
    if images.numel() == 0:
        return images
    lowest, highest = (float(edge) for edge in images.aminmax())
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):  # also catches NaN
        if images.isnan().any():
            raise BadValueError("images must lie in [0, 1], and some pixels are NaN")
        raise BadValueError(
            f"images must lie in [0, 1], got {lowest:g} to {highest:g}: divide 8-bit pixels by "
            "255, and leave normalization to the model"
        )
    return images.clamp(0, 1) if lowest < 0 or highest > 1 else images


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that are no classes of the model.

    Raises:
        BadValueError: Fewer than two classes, or a label out of range.
    """
    if classes < 2:
        raise BadValueError(
            f"the model gives {classes} logit a sample, and a classifier needs two or more; give "
            "a two-class model two logits, such as (0, z) for a single logit z"
        )
    if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        raise BadValueError(
            f"the model gives {classes} classes, so labels must be 0..{classes - 1}, got "
            f"{int(labels.min())}..{int(labels.max())}"
        )


def check_aim(target: str | int | None, classes: int) -> None:
    """Refuse a class to aim at that the model does not have; rules and None always pass.

    Raises:
        BadValueError: The target is no class of the model.
    """
    if isinstance(target, int) and not 0 <= target < classes:
        raise BadValueError(
            f"the model gives {classes} classes, so target must be 0..{classes - 1}, got {target}; "
            "give one of these, or a rule such as target=second"
        )


def chunks(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut a stream of batches anew, into batches of one size.

    Raises:
        BadValueError: Images of several shapes, which cannot stand in one call.
    """
    held: list[Batch] = []
    shape = None
    for batch in batches:
        found = list(batch.images.shape[1:])
        if shape is not None and found != shape:
            raise BadValueError(
                f"attacks need images of one shape, got {shape} and {found}: measure with --view "
                "SIZE (view=SIZE), such as 224, or with a model that has an input size"
            )
        shape = found
        held.append(batch)
        count = sum(len(part) for part in held)
        while count >= size:
            whole = _concat(held)
            yield _part(whole, slice(0, size))
            held = [_part(whole, slice(size, None))]
            count -= size
    rest = [part for part in held if len(part)]
    if rest:
        yield _concat(rest)


def _concat(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return Batch(
        torch.cat([b.images for b in batches]),
        torch.cat([b.labels for b in batches]),
        torch.cat([b.ids for b in batches]),
    )


def _part(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.images[rows], batch.labels[rows], batch.ids[rows])
