"""Published spaces by name."""

from __future__ import annotations

from typing import Any, Final

_RATE: Final = {"log": [1e-6, 1e-1]}
_DECAY: Final = {"log": [1e-6, 1e-2]}
_SCHEDULE: Final = {"choice": ["cosine", "constant"]}

# Heuillet et al., robust fine-tuning on a budget: learning rate and weight decay of backbone and
# of head, and whether the rate is annealed; a linear probe looks at the head's alone. There the
# trials are drawn at random, halved asynchronously by the adversarial loss of validation images,
# and end after 140 minutes. Here trials are scored as the checkpoints of a recipe are, by robust
# accuracy on validation images; the metric `loss` is that of the training images.
SPACES: Final[dict[str, dict[str, Any]]] = {
    "heuillet": {
        "optimizer.lr": _RATE,
        "optimizer.head_lr": _RATE,
        "optimizer.weight_decay": _DECAY,
        "optimizer.head_weight_decay": _DECAY,
        "schedule.kind": _SCHEDULE,
    },
    "heuillet-lp": {
        "optimizer.head_lr": _RATE,
        "optimizer.head_weight_decay": _DECAY,
        "schedule.kind": _SCHEDULE,
    },
}
