"""holdfast's own attacks on a stack of networks: a lane is an image under one network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from holdfast.core.randomness import Keys, keys_for
from holdfast.perturb.attacks._stages import streams
from holdfast.perturb.attacks.base import UNTARGETED, Answer, Attack, Task
from holdfast.search.making.stack import Prepared

_WORTH = 0.85  # lanes are thinned out once so few of them are left that it pays


def worst_images(
    attack: Attack, nets: Prepared, images: Tensor, labels: Tensor, keys: Keys
) -> Tensor:
    """Where the attack's last step leads, [G, B, side, side]; no lane is retired.

    Args:
        attack: Asks for the gradients of all lanes in each step, as PGD does.
        nets: G networks.
        images: [B, side, side] in [0, 1].
        labels: int64 [B].
        keys: One random stream an image, the same for every network.
    """
    state = _start(attack, nets.count, images, labels, keys)
    while True:
        query = attack.ask(state)
        if not bool(query.gradient.all()):
            return query.images.view(nets.count, *images.shape)
        state = attack.tell(state, _answer(attack, nets, state, query.images))


def standing(
    attack: Attack, nets: Prepared, images: Tensor, labels: Tensor, *, seed: int
) -> Tensor:
    """Which images each network still classifies right under the attack, bool [G, B].

    As in a measurement, an image falls with the first point that is asked for and classified
    wrong, the image itself included, and draws are keyed by its place and the attack's text.

    Args:
        attack: PGD or FGSM.
        nets: G networks.
        images: [B, side, side] in [0, 1]; an image's place is its id.
        labels: int64 [B].
        seed: Of the run.
    """
    ids = torch.arange(len(images))
    keys = keys_for(ids, seed=seed, stream=streams([attack])[0]).at(torch.zeros_like(ids))
    with torch.no_grad():
        upright = nets(images[None]).argmax(2) == labels
    stands = upright.flatten().clone()
    rows = torch.arange(len(stands)).view(nets.count, -1)
    state = _start(attack, nets.count, images, labels, keys)
    while bool(stands.any()):
        rows, state = _thinned(rows, state, stands)
        query = attack.ask(state)
        answer = _answer(attack, nets, state, query.images, last=not bool(query.gradient.any()))
        right = answer.logits.argmax(1) == state.labels
        stands[rows.flatten()] &= right
        state = attack.tell(state, answer)
        if bool(attack.finished(state).all()):
            break
    return stands.view(nets.count, -1)


def _thinned(rows: Tensor, state: Any, stands: Tensor) -> tuple[Tensor, Any]:
    """Keep of each network what still stands, and as many others as it takes to be even."""
    count, width = rows.shape
    alive = stands[rows]
    most = int(alive.sum(1).max())
    if most > _WORTH * width:
        return rows, state
    # Stable: those that stand come first, in their order.
    order = alive.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    places = (order + width * torch.arange(count)[:, None]).flatten()
    return rows.gather(1, order), state.take(places)


def _start(attack: Attack, count: int, images: Tensor, labels: Tensor, keys: Keys) -> Any:
    """State of all lanes; each network's begin at the same points."""
    task = Task(
        images=images[:, None],
        labels=labels,
        targets=torch.full_like(labels, UNTARGETED),
        logits=images.new_zeros(len(images), 1),
        lane=torch.zeros_like(labels),
        keys=keys,
    )
    return attack.start(task).take(torch.arange(len(images)).repeat(count))


def _answer(
    attack: Attack, nets: Prepared, state: Any, points: Tensor, *, last: bool = False
) -> Answer:
    shape = (nets.count, -1, *points.shape[2:])
    if last:
        with torch.no_grad():
            logits = nets(points.view(shape)).flatten(0, 1)
        return Answer(logits, logits[:, :0], logits.new_empty((len(logits), 0, *points.shape[1:])))
    with torch.enable_grad():
        moved = points.detach().view(shape).requires_grad_()
        logits = nets(moved).flatten(0, 1)
        scores = attack.scores(logits, state.labels, state.aims)
        (gradients,) = torch.autograd.grad(scores.sum(), moved)
    return Answer(logits.detach(), scores.detach(), gradients.view(-1, 1, *points.shape[1:]))
