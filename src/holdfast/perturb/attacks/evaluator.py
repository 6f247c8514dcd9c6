"""Calls a classifier for the engine: fixed shapes, gradients, counts, and what can go wrong.

The last bits of a logit depend on how many rows a call has, so calls are padded: on a CPU to a
multiple of 4 rows and at least 16, where the libraries that torch calls no longer change their
way of summing; on an accelerator always to all slots, which also spares it new plans. With one
slot nothing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks.base import Answer, Attack, Query, State
from holdfast.perturb.base import Classifier

_LARGEST_KEPT = 31 << 20  # bytes
_ROWS, _FEWEST_ROWS = 4, 16  # of a padded call on a CPU


def keep_freed_memory() -> None:
    """Let the C library keep freed tensors of a few MB instead of giving them back each time.

    glibc maps blocks above a threshold anew and unmaps them when they are freed, so that every
    page of a temporary faults: 20 times the cost of the arithmetic on it. Freeing one block of
    just under 32 MB raises the threshold to that, for good.
    """
    torch.empty(_LARGEST_KEPT, dtype=torch.uint8)


class Evaluator:
    """A classifier as the engine sees it.

    Attributes:
        repeats: Draws over which gradients are averaged; the engine sets it for each attack.
        flags: What a reader of the numbers must know: `batch_halved`, `nonfinite_logits`,
            `nonfinite_gradients`.
        forward_rows: Rows that went through the classifier, padding and repeats included.
        gradient_rows: Those of them for which a gradient was computed.
    """

    def __init__(self, classifier: Classifier, slots: int, repeats: int = 1) -> None:
        self._classifier = classifier
        self._slots = slots
        self._most: int | None = None  # rows that the memory holds, once it was too small
        self._writes: bool | None = None  # the model, into its input; None: not seen yet
        self.repeats = repeats
        self.flags: set[str] = set()
        self.forward_rows = 0
        self.gradient_rows = 0

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits float32 [B, K] without gradient, and which rows were finite, bool [B]."""
        (logits,) = self._sparing(lambda rows: (self._last_draw(images[rows]),), images)
        return self._finite(logits)

    def answer(self, attack: Attack, state: State, query: Query) -> tuple[Answer, Tensor]:
        """What the classifier says to a query, and which lanes' logits were finite, bool [L]."""
        wants = query.gradient
        if attack.gradients and bool(wants.all()):
            return self._with_gradients(attack, query.images, attack.known(state))
        if not attack.gradients or not bool(wants.any()):
            logits, finite = self.logits(query.images)
            return self._without_gradients(logits, query.images), finite
        return self._mixed(attack, state, query)

    def _mixed(self, attack: Attack, state: State, query: Query) -> tuple[Answer, Tensor]:
        wants = query.gradient
        some = wants.nonzero()[:, 0]
        others = (~wants).nonzero()[:, 0]
        asked, finite_asked = self._with_gradients(
            attack, query.images[some], tuple(part[some] for part in attack.known(state))
        )
        logits, finite_rest = self.logits(query.images[others])
        count = len(wants)
        whole = Answer(
            logits.new_empty(count, logits.shape[1]),
            asked.scores.new_zeros(count, asked.scores.shape[1]),
            asked.gradients.new_zeros(count, *asked.gradients.shape[1:]),
        )
        whole.logits[some], whole.logits[others] = asked.logits, logits
        whole.scores[some], whole.gradients[some] = asked.scores, asked.gradients
        finite = torch.empty_like(wants)
        finite[some], finite[others] = finite_asked, finite_rest
        return whole, finite

    def _without_gradients(self, logits: Tensor, images: Tensor) -> Answer:
        count = logits.shape[0]
        return Answer(logits, logits[:, :0], logits.new_empty((count, 0, *images.shape[1:])))

    def _last_draw(self, images: Tensor) -> Tensor:
        """Logits of one pass; of a randomized model's last repeat."""
        with torch.no_grad():
            for _ in range(self.repeats):
                logits = self._counted(self._padded(images))
        return logits[: images.shape[0]]

    def _with_gradients(
        self, attack: Attack, images: Tensor, known: tuple[Tensor, ...]
    ) -> tuple[Answer, Tensor]:
        def differentiate(rows: slice) -> tuple[Tensor, ...]:
            return self._differentiate(attack, images[rows], [part[rows] for part in known])

        logits, scores, gradients = self._sparing(differentiate, images)
        logits, finite = self._finite(logits)
        return Answer(logits, *self._finite_scores(scores, gradients)), finite

    def _differentiate(
        self, attack: Attack, images: Tensor, known: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        total: tuple[Tensor, Tensor] | None = None
        for _ in range(self.repeats):
            leaf = self._padded(images).detach().requires_grad_(True)
            with torch.enable_grad():
                logits = self._counted(leaf)[: images.shape[0]]
                scores = attack.scores(logits, *known)
            self.gradient_rows += leaf.shape[0]
            _check_differentiable(scores, attack)
            grads = _gradients(scores, leaf, images.shape[0])
            found = (scores.detach(), grads)
            total = found if total is None else (total[0] + found[0], total[1] + found[1])
        assert total is not None  # noqa: S101 - at least one repeat
        if self.repeats > 1:
            total = (total[0] / self.repeats, total[1] / self.repeats)
        return logits.detach(), *total

    def _counted(self, images: Tensor) -> Tensor:
        self.forward_rows += images.shape[0]
        if self._writes:
            return self._classifier(images.clone()).float()
        if images.requires_grad:
            return self._on_leaf(images).float()
        if self._writes is not None:
            return self._classifier(images).float()
        given = images.clone()
        logits = self._classifier(given).float()
        # What is not a number is not equal to itself.
        self._writes = not torch.equal(given.nan_to_num(), images.nan_to_num())
        return logits

    def _on_leaf(self, leaf: Tensor) -> Tensor:
        try:
            return self._classifier(leaf)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
        self._writes = True
        return self._classifier(leaf.clone())

    def _padded(self, images: Tensor) -> Tensor:
        count = images.shape[0]
        missing = self._rows(count, images.device) - count
        if missing <= 0:
            return images
        return torch.cat([images, images[:1].expand(missing, *images.shape[1:])])

    def _rows(self, count: int, device: torch.device) -> int:
        if self._slots == 1 or self._most is not None:
            return count
        if device.type != "cpu":
            return self._slots
        return max(_FEWEST_ROWS, -(-count // _ROWS) * _ROWS)

    def _sparing(
        self, evaluate: Callable[[slice], tuple[Tensor, ...]], images: Tensor
    ) -> tuple[Tensor, ...]:
        """Evaluate slots by slots; by half as many, and again half, where the memory is small."""
        count = images.shape[0]
        done: list[tuple[Tensor, ...]] = []
        start = 0
        while start < count or not done:
            rows = slice(start, min(start + (self._most or self._slots), count))
            try:
                done.append(evaluate(rows))
            except torch.OutOfMemoryError:
                size = rows.stop - rows.start
                if size == 1:
                    raise BadValueError(
                        "the device's memory does not hold even one image of this size with its "
                        "gradient; take a larger device, smaller images or a smaller model"
                    ) from None
                self._most = (size + 1) // 2
                self.flags.add("batch_halved")
                if images.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            start = rows.stop
        if len(done) == 1:
            return done[0]
        return tuple(torch.cat(column) for column in zip(*done, strict=True))

    def _finite(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        # The sum says in one pass whether all of them are, unless it is itself too large.
        if math.isfinite(float(logits.sum())):
            return logits, logits.new_ones(logits.shape[0], dtype=torch.bool)
        finite = logits.isfinite().all(1)
        if bool(finite.all()):
            return logits, finite
        self.flags.add("nonfinite_logits")
        return torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite

    def _finite_scores(self, scores: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        if not math.isfinite(float(gradients.sum())):
            if not bool(gradients.isfinite().all()):
                self.flags.add("nonfinite_gradients")
            scores, gradients = scores.nan_to_num(0, 0, 0), gradients.nan_to_num(0, 0, 0)
        return scores, gradients


def _gradients(scores: Tensor, leaf: Tensor, count: int) -> Tensor:
    """Gradients [L, G, ...] of the scores [L, G]; zero where a score does not depend on pixels."""
    last = scores.shape[1] - 1
    columns = []
    if last == 0:
        (found,) = torch.autograd.grad(
            scores, leaf, torch.ones_like(scores), materialize_grads=True
        )
        return found[:count, None]
    for place in range(scores.shape[1]):
        wanted = torch.zeros_like(scores)
        wanted[:, place] = 1
        (found,) = torch.autograd.grad(
            scores, leaf, wanted, retain_graph=place < last, materialize_grads=True
        )
        columns.append(found[:count])
    return torch.stack(columns, 1)


def _check_differentiable(scores: Tensor, attack: Attack) -> None:
    if not scores.requires_grad:
        raise BadValueError(
            f"{attack.name} needs gradients, but the model's logits carry none: it computes them "
            "under no_grad, detaches them, or leaves torch. Attack it with square, which needs "
            "none, or craft on another model and transfer"
        )
