"""Attacks inside a training step: one batch, the whole budget, the last iterate."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.attacks.base import UNTARGETED, Attack, Task
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.base import Classifier


def worst_images(
    attack: Attack, classifier: Classifier, images: Tensor, labels: Tensor, keys: Keys
) -> Tensor:
    """Images after an attack's whole budget, [B, C, H, W], none retired when it falls.

    Args:
        attack: Its first lane is run.
        classifier: In the mode in which it shall be attacked.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        keys: One random stream a sample.
    """
    evaluator = Evaluator(classifier, slots=len(images))
    with torch.no_grad():
        logits, _ = evaluator.logits(images)
        task = Task(
            images,
            labels,
            torch.full_like(labels, UNTARGETED),
            logits,
            torch.zeros_like(labels),
            keys,
        )
        state = attack.start(task)
        while True:
            query = attack.ask(state)
            last = query.images.clone()
            answer, _ = evaluator.answer(attack, state, query)
            state = attack.tell(state, answer)
            if bool(attack.finished(state).all()):
                return last
