"""What attacks climb: one number a lane from its logits; greater is more adversarial.

Every loss takes (logits [L, K], labels [L], aims [L]) and gives [L], so that attacks exchange
them freely: losses that move away from the label do not look at the aim. Each lane's loss
depends on its own logits alone, so the gradient of the sum is every lane's own gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F

from holdfast.core.errors import BadValueError

Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

_TINY = 1e-12  # added to the denominator of DLR, as in the authors' code


def cross_entropy(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Minus the log-probability of the label, [L], at least 0.

    Computed in float64: a float32 softmax rounds to one, and the gradient to zero, once the
    label leads by 17. Float64 holds until 37, and its last bit, which may depend on the shape of
    the batch, does not reach the result.
    """
    return F.cross_entropy(logits.double(), labels, reduction="none").to(logits.dtype)


def plain_cross_entropy(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Minus the log-probability of the label in the precision of the logits, [L], at least 0.

    As FGSM and PGD are published and other libraries compute it: where the label leads by 17 its
    own part of the gradient is gone. Attacks that are compared across libraries climb this one.
    """
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Largest wrong logit minus the label's, [L]; positive exactly when misclassified.

    Source: Carlini and Wagner 2017, arXiv:1608.04644, section V-A, f6 without its floor.
    """
    return _largest_other(logits, labels) - _logit(logits, labels)


def dlr(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Difference of logits ratio, [L]: the margin over the gap of the first and third logit.

    Unchanged by a shift and by a positive factor of the logits; in [-1, 1] for a label among
    the three largest.

    Raises:
        BadValueError: Fewer than 3 classes.

    Source: Croce and Hein 2020, arXiv:2003.01690, equation 6; denominator + 1e-12 as their code.
    """
    top = _largest(logits, 3, "DLR")
    return margin(logits, labels, aims) / (top[:, 0] - top[:, 2] + _TINY)


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || logits) of the classes' probabilities, [L], at least 0; knows no label.

    Args:
        logits: [L, K].
        reference: Log-probabilities at the own images, [L, K].

    Source: Zhang et al. 2019, arXiv:1901.08573, section 4 and their code, whose sum over the
    classes this is.
    """
    return F.kl_div(F.log_softmax(logits, 1), reference, reduction="none", log_target=True).sum(1)


def targeted_cross_entropy(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Log-probability of the aim, [L], at most 0; in float64, as `cross_entropy`."""
    return -cross_entropy(logits, aims, aims)


def targeted_plain_cross_entropy(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Log-probability of the aim, [L], at most 0, in the precision of the logits."""
    return -plain_cross_entropy(logits, aims, aims)


def targeted_margin(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """The aim's logit minus the largest other, [L]; positive exactly when the aim is predicted."""
    return -margin(logits, aims, aims)


def margin_to_aim(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """The aim's logit minus the label's, [L]; positive only if misclassified.

    Source: Croce and Hein 2020, arXiv:1907.02044, the targeted variant of FAB.
    """
    return _logit(logits, aims) - _logit(logits, labels)


def targeted_dlr(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """Difference of logits ratio towards the aim, [L].

    The aim's logit minus the label's, over the gap between the largest and the mean of the third
    and fourth. Unchanged by a shift and by a positive factor of the logits.

    Raises:
        BadValueError: Fewer than 4 classes.

    Source: Croce and Hein 2020, arXiv:2003.01690, equation 7; denominator + 1e-12 as their code.
    """
    top = _largest(logits, 4, "the targeted DLR")
    gap = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return margin_to_aim(logits, labels, aims) / (gap + _TINY)


def untargeted_dlr(classes: int) -> Loss:
    """DLR where it is defined, from 3 classes; the margin for 2, of which it is a multiple."""
    return dlr if classes >= 3 else margin


def aimed_dlr(classes: int) -> Loss:
    """Targeted DLR where it is defined, from 4 classes; its numerator alone for 2 and 3."""
    return targeted_dlr if classes >= 4 else margin_to_aim


def _logit(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _largest_other(logits: Tensor, classes: Tensor) -> Tensor:
    # Not amax, whose gradient is shared out among equals: one class is to be climbed.
    return logits.scatter(1, classes[:, None], -float("inf")).max(1).values


def _largest(logits: Tensor, count: int, name: str) -> Tensor:
    """The largest logits in descending order, [L, count]."""
    classes = logits.shape[1]
    if classes < count:
        raise BadValueError(
            f"{name} needs at least {count} classes, got {classes}; untargeted_dlr and aimed_dlr "
            "choose the loss for a number of classes"
        )
    return logits.topk(count, dim=1).values
