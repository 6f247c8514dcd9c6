"""What the evaluator makes of a classifier's answers, on a model whose gradients are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.core.errors import HoldfastError
from holdfast.perturb.attacks.base import Query, State
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.pgd import PGD

CLASSES, SHAPE, COUNT = 3, (1, 4, 4), 5
NUMBERS = torch.Generator().manual_seed(4)
WEIGHTS = torch.randn(CLASSES, 16, generator=NUMBERS)
IMAGES = torch.rand(COUNT, *SHAPE, generator=NUMBERS)
LABELS = torch.tensor([0, 1, 2, 1, 0])
ATTACK = PGD(eps=0.1, loss="margin")


class Linear(nn.Module):
    def forward(self, images):
        return images.flatten(1) @ WEIGHTS.T


def state():
    return State(labels=LABELS, aims=torch.full_like(LABELS, -1))


def slopes(labels=LABELS):
    """Gradient of the margin, [L, 1, C, H, W]: weights of the first rival less the label's."""
    logits = Linear()(IMAGES)
    rival = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
    return (WEIGHTS[rival] - WEIGHTS[labels]).view(COUNT, 1, *SHAPE)


def answer(model, wants=None, **options):
    wanted = torch.ones(COUNT, dtype=torch.bool) if wants is None else torch.tensor(wants)
    evaluator = Evaluator(model, slots=7, **options)
    return evaluator.answer(ATTACK, state(), Query(IMAGES, wanted))


def test_padding_does_not_reach_the_logits():
    evaluator = Evaluator(Linear(), slots=7)
    logits, finite = evaluator.logits(IMAGES)

    assert evaluator.forward_rows > COUNT
    assert (COUNT, CLASSES) == logits.shape and (COUNT,) == finite.shape
    torch.testing.assert_close(Linear()(IMAGES), logits)


def test_padding_does_not_reach_the_gradients():
    reply, _ = answer(Linear())

    assert (COUNT, 1, *SHAPE) == reply.gradients.shape
    torch.testing.assert_close(slopes(), reply.gradients)


def test_of_a_mixed_query_each_lane_gets_its_own_answer():
    reply, _ = answer(Linear(), wants=[True, False, True, True, False])
    asked = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])

    torch.testing.assert_close(Linear()(IMAGES), reply.logits)
    torch.testing.assert_close(slopes() * asked.view(-1, 1, 1, 1, 1), reply.gradients)


def test_gradients_and_scores_of_repeats_are_averaged():
    class Louder(nn.Module):
        calls = 0

        def forward(self, images):
            self.calls += 1
            return self.calls * Linear()(images)

    plain, _ = answer(Linear())
    reply, _ = answer(Louder(), repeats=4)

    torch.testing.assert_close(2.5 * slopes(), reply.gradients)  # mean of 1, 2, 3, 4
    torch.testing.assert_close(2.5 * plain.scores, reply.scores)


def test_logits_that_are_not_finite_are_zeros_that_do_not_count():
    class Broken(nn.Module):
        def forward(self, images):
            logits = Linear()(images)
            marked = (images == IMAGES[2]).flatten(1).all(1)
            return logits.masked_fill(marked[:, None], torch.nan)

    evaluator = Evaluator(Broken(), slots=7)
    logits, finite = evaluator.logits(IMAGES)

    assert [True, True, False, True, True] == finite.tolist()
    assert [0.0] * CLASSES == logits[2].tolist()
    assert {"nonfinite_logits"} == evaluator.flags


def test_halves_of_a_call_keep_their_labels():
    class Small(nn.Module):
        def forward(self, images):
            if len(images) > 3:
                raise torch.OutOfMemoryError
            return Linear()(images)

    reply, _ = answer(Small())

    torch.testing.assert_close(slopes(), reply.gradients)


class Broken(nn.Module):
    """Linear, with gradients that are not numbers in some rows."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(self.damage)
        return Linear()(images)

    def damage(self, gradients):
        damaged = gradients.clone()
        damaged[self.rows] = torch.nan
        return damaged


def flags_of(model):
    evaluator = Evaluator(model, slots=7)
    reply, _ = evaluator.answer(ATTACK, state(), Query(IMAGES, torch.ones(COUNT, dtype=torch.bool)))
    return evaluator.flags, reply


def test_gradients_that_are_not_finite_are_zeros_and_flagged():
    flags, reply = flags_of(Broken([1]))

    assert {"nonfinite_gradients"} == flags
    assert reply.gradients.isfinite().all() and not reply.gradients[1].any()
    torch.testing.assert_close(slopes()[2:], reply.gradients[2:])


def test_finite_gradients_are_not_flagged():
    assert set() == flags_of(Linear())[0]


def test_a_memory_too_small_for_one_image_is_told():
    def crowded(images):
        raise torch.OutOfMemoryError

    with pytest.raises(HoldfastError, match="not hold even one image"):
        Evaluator(crowded, slots=4).logits(IMAGES)
