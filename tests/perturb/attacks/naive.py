"""The simplest loop that can drive an attack, one sample at a time: a judge of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks.base import UNTARGETED, Answer, Attack, Task


@dataclass
class Walk:
    """What one lane went through."""

    seen: list[Tensor]  # images asked for, [C, H, W]
    logits: list[Tensor]  # [K]
    wanted: list[bool]  # whether the gradient was asked for
    state: object

    @property
    def forward_evals(self) -> int:
        return len(self.seen)

    @property
    def gradient_evals(self) -> int:
        return sum(self.wanted)


def answer(attack: Attack, state, classifier, query) -> Answer:
    images = query.images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = classifier(images)
        none = torch.zeros(len(images), 0)
        empty = Answer(logits.detach().clone(), none, none.view(len(images), 0, 1, 1, 1))
        if not query.gradient.any():
            return empty
        scores = attack.scores(logits, state.labels, state.aims)
        gradients = torch.stack(
            [
                torch.autograd.grad(scores[:, g].sum(), images, retain_graph=True)[0]
                for g in range(scores.shape[1])
            ],
            1,
        )
    return Answer(logits.detach(), scores.detach(), gradients)


def walk(
    attack, classifier, image, label, *, id_=0, seed=0, lane=0, target=UNTARGETED, stream=None
) -> Walk:
    """Drive one lane of one sample to the end of its budget, whatever happens."""
    images, labels = image[None], torch.tensor([label])
    keys = keys_for(torch.tensor([id_]), seed=seed, stream=stream or attack.name)
    with torch.no_grad():
        logits = classifier(images)
    task = Task(
        images,
        labels,
        torch.tensor([target]),
        logits,
        torch.tensor([lane]),
        keys.at(torch.tensor([lane])),
    )
    state = attack.start(task)
    result = Walk([], [], [], state)
    for _ in range(20_000):
        query = attack.ask(state)
        reply = answer(attack, state, classifier, query)
        result.seen.append(query.images[0].clone())
        result.logits.append(reply.logits[0])
        result.wanted.append(bool(query.gradient[0]))
        state = attack.tell(state, reply)
        result.state = state
        if bool(attack.finished(state)[0]):
            return result
    raise AssertionError("the attack does not end")
