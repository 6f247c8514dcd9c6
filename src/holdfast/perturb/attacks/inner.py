"""Attacks inside a training step: one batch, the whole budget, what the attack came to.

Evaluation asks whether an image falls, and stops when it does. Training wants the worst image that
the budget finds, for every sample: PGD's last point, AutoPGD's point of the largest loss. Nothing
that this does not need is computed: PGD with seven steps costs seven passes with gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.attacks.base import Attack, Task
from holdfast.perturb.attacks.evaluator import Evaluator, keep_freed_memory
from holdfast.perturb.attacks.samples import choose_targets
from holdfast.perturb.base import Classifier


class _Whole(Evaluator):
    """A classifier that is shown the batch as it is, in one call.

    Rows added would change what BatchNorm in train mode sees, and rows split too. Where the memory
    is too small, the training loop must know. What is not finite becomes zero, without waiting for
    an accelerator to say whether there is any.
    """

    def _sparing(
        self, evaluate: Callable[[slice], tuple[Tensor, ...]], images: Tensor
    ) -> tuple[Tensor, ...]:
        return evaluate(slice(None))

    def _rows(self, count: int, device: torch.device) -> int:
        return count

    def _finite(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        finite = logits.isfinite().all(1)
        return torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite

    def _finite_scores(self, scores: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        return scores.nan_to_num(0, 0, 0), gradients.nan_to_num(0, 0, 0)


@dataclass
class _Smallest:
    """The smallest adversarial image of each sample: what minimum-norm attacks are for.

    Attributes:
        images: Where none was found, the last one asked for, [B, C, H, W].
        sizes: Of the perturbations found, infinity where there is none, [B].
    """

    images: Tensor
    sizes: Tensor

    def see(self, attack: Attack, task: Task, asked: Tensor, logits: Tensor) -> None:
        """Take note of an answer."""
        given = logits.argmax(1)
        wrong = given != task.labels if attack.target is None else given == task.targets
        sizes = attack.ball.size(asked - task.images)
        smaller = wrong & (sizes < self.sizes)
        replaced = smaller | self.sizes.isinf()
        self.images = torch.where(replaced[:, None, None, None], asked, self.images)
        self.sizes = torch.where(smaller, sizes, self.sizes)


def worst_images(
    attack: Attack,
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    keys: Keys,
    reference: Tensor | None = None,
) -> Tensor:
    """Images after an attack's whole budget, [B, C, H, W], none retired when it falls.

    Given back is `Attack.result`: the last point of FGSM and PGD, the point of the largest loss of
    AutoPGD (of all its points: `steps` gradients and a forward pass for the last) and Square. Of
    minimum-norm attacks it is the smallest adversarial image, or the last one where there is
    none, brought into the ball where there is an eps. A clean pass is made only if the attack or
    its rule for targets reads the clean logits and `reference` does not give them.

    The mode of a module, its parameters and their `.grad` stay as they are; in train mode
    BatchNorm takes note of the images that it sees, as in any forward pass. NaN and infinite
    gradients count as zero.

    Args:
        attack: Its first lane is run.
        classifier: In the mode in which it shall be attacked. Called with the whole batch, unless
            it has a method `fast_rows(images)`, as crafting copies have: then with no more.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        keys: One random stream a sample, on the images' device.
        reference: Logits [B, K] of the images, if known; no gradient flows into them.

    Raises:
        BadValueError: The logits carry no gradient, and the attack needs one.
        OutOfMemoryError: torch's own: the batch is neither halved nor tried again.
    """
    keep_freed_memory()
    found = []
    with torch.no_grad():
        for rows in _parts(classifier, images):
            known = None if reference is None else reference[rows].detach().float()
            evaluator = _Whole(classifier, slots=len(images), repeats=attack.repeats)
            batch = (images[rows].detach(), labels[rows], keys.take(rows))
            found.append(_walked(attack, evaluator, _task(attack, evaluator, batch, known)))
    return found[0] if len(found) == 1 else torch.cat(found)


def _parts(classifier: Classifier, images: Tensor) -> Iterator[Any]:
    """Rows to attack together: all of them, unless the classifier says how many are fast."""
    count = len(images)
    fast = getattr(classifier, "fast_rows", None)
    parts = 1 if fast is None else -(-count // fast(images))
    size = -(-count // max(parts, 1)) or 1
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


def _walked(attack: Attack, evaluator: Evaluator, task: Task) -> Tensor:
    state = attack.start(task)
    smallest = _Smallest(task.images, torch.full_like(task.images[:, 0, 0, 0], torch.inf))
    finished = False
    while not finished:
        query = attack.ask(state)
        if not attack.last_pass_counts and not bool(query.gradient.any()):
            break
        answer, _ = evaluator.answer(attack, state, query)
        if attack.minimum_norm:
            smallest.see(attack, task, query.images, answer.logits)
        state = attack.tell(state, answer)
        finished = bool(attack.finished(state).all())
    if not attack.minimum_norm:
        return attack.result(state)
    if attack.eps is None:
        return smallest.images
    return attack.ball.confine(task.images, smallest.images, float(attack.eps))


def _task(
    attack: Attack,
    evaluator: Evaluator,
    batch: tuple[Tensor, Tensor, Keys],
    reference: Tensor | None,
) -> Task:
    images, labels, keys = batch
    if attack.target is None and not attack.reads_logits:
        logits = images.new_empty(len(images), 0)
    elif reference is not None:
        logits = reference
    else:
        logits, _ = evaluator.logits(images)
    targets = choose_targets(attack.target, logits, labels, keys.stream("target"))
    return Task(images, labels, targets, logits, torch.zeros_like(labels), keys)
