"""Smallest norms that an attack finds on the shared CIFAR-10 networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from attacks.naive import answer

from holdfast.core.randomness import keys_for
from holdfast.models import load_model
from holdfast.perturb.attacks.base import UNTARGETED, Task

NETS = Path(__file__).parents[2] / "models" / "cifar_models.py"
CIFAR = {
    "cnn_a_adv": ("cnn_a", "cifar_cnn_a_adv.model"),
    "resnet20": ("resnet20", "resnet20-12fca82f.th"),
}


def smallest_norms(attack, function, weights, shared, count):
    """Of the first images that are classified correctly, float64 [count]; infinite: none found."""
    model = load_model(f"{NETS}:{function}", weights=shared / "data/weights/cifar10" / weights)
    with np.load(shared / "data/images/cifar10/cifar10_test_a.npz") as arrays:
        pixels, labels = arrays["x"][: 2 * count + 20], arrays["y"][: 2 * count + 20]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()
    labels = torch.from_numpy(labels).long()
    with torch.no_grad():
        logits = model(images)
    right = (logits.argmax(1) == labels).nonzero()[:count, 0]
    ids = torch.arange(count)
    keys = keys_for(ids, seed=0, stream="smallest")
    images, labels, logits = images[right], labels[right], logits[right]
    state = attack.start(
        Task(images, labels, torch.full_like(ids, UNTARGETED), logits, 0 * ids, keys)
    )
    best = torch.full((count,), torch.inf, dtype=torch.float64)
    while not attack.finished(state).all():
        query = attack.ask(state)
        reply = answer(attack, state, model, query)
        sizes = attack.ball.size(query.images.double() - images.double())
        best = torch.where(reply.logits.argmax(1) != labels, sizes.minimum(best), best)
        state = attack.tell(state, reply)
    return best
