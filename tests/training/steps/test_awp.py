"""Adversarial weight perturbation against its formula, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from holdfast.training.objectives import Objective
from holdfast.training.steps import parse_step
from training.objectives.small import (
    CLASSES,
    Seen,
    all_equal,
    batch,
    double,
    gradients,
    keys,
    network,
)
from training.steps.test_steps import stepped, work_for

GAMMA = 0.3  # large, so that a wrong term shows


def linear_with_bias():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)).double()


def by_hand(weight, bias, given):
    """Gradients of the mean cross-entropy of a linear network."""
    pixels = given.images.flatten(1)
    wrong = (pixels @ weight.T + bias).softmax(1) - given.targets
    return wrong.T @ pixels / len(given), wrong.mean(0)


def test_a_linear_network_by_hand():
    net, given = linear_with_bias(), double(batch(6, mixed=True))
    weight, bias = (value.detach().clone() for value in net.parameters())
    losses = parse_step(f"awp(gamma={GAMMA})").gradients(
        work_for(net, "cross_entropy", 6), given, keys(given)
    )
    slope, _ = by_hand(weight, bias, given)
    moved = weight + GAMMA * weight.norm() * slope / slope.norm()
    there = F.cross_entropy(given.images.flatten(1) @ moved.T + bias, given.targets)

    for found, expected in zip(gradients(net), by_hand(moved, bias, given), strict=True):
        torch.testing.assert_close(found, expected)
    assert losses.mean().item() == pytest.approx(there.item())
    assert all_equal([weight, bias], [value.detach() for value in net.parameters()])


def test_each_layer_moves_by_its_own_size():
    given, seen = batch(), []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network(normalized=True)

        def forward(self, images):
            seen.append([value.detach().clone() for value in self.parameters()])
            return self.network(images)

    net = Watched()
    parse_step(f"awp(gamma={GAMMA})").gradients(work_for(net, "cross_entropy"), given, keys(given))
    first, second = seen

    for before, after in zip(first, second, strict=True):
        if before.ndim == 1:
            assert torch.equal(before, after)
        else:
            assert ((after - before).norm() / before.norm()).item() == pytest.approx(GAMMA)


def test_the_loss_rises():
    given = batch()

    assert (
        stepped("awp", given, "cross_entropy")[0].mean()
        > stepped("plain", given, "cross_entropy")[0].mean()
    )


@pytest.mark.parametrize("text", ["awp(gamma=0)", "awp(warmup=1)"])
def test_without_perturbation_it_is_plain(text):
    assert all_equal(stepped(text, batch()), stepped("plain", batch()))


def test_it_begins_after_the_warmup():
    given, net = batch(), network(normalized=True)
    work = work_for(net)
    work.epoch = 1
    parse_step("awp(warmup=1)").gradients(work, given, keys(given))

    assert all_equal(gradients(net), stepped("awp", given)[1:7])


def test_statistics_are_those_of_the_pass_that_counts():
    given, net = batch(), network(normalized=True)
    moved = network(normalized=True)
    slopes = stepped("plain", given, "cross_entropy")[1:7]
    with torch.no_grad():
        for weight, slope in zip(moved.parameters(), slopes, strict=True):
            if weight.ndim > 1:
                weight.add_(GAMMA * weight.norm() * slope / slope.norm())
    moved(given.images)
    parse_step(f"awp(gamma={GAMMA})").gradients(work_for(net, "cross_entropy"), given, keys(given))

    torch.testing.assert_close(net[1].running_mean, moved[1].running_mean)
    torch.testing.assert_close(net[1].running_var, moved[1].running_var)


def test_images_are_crafted_once_at_the_weights_as_they_are():
    @dataclass(frozen=True)
    class Counted(Objective):
        made: list

        def craft(self, classifier, batch, rng):
            self.made.append([value.detach().clone() for value in net.parameters()])
            return batch

        def losses(self, classifier, batch):
            return classifier(batch.images).logsumexp(1)

    given, net = batch(), network()
    work = work_for(net)
    work.objective = Counted([])
    parse_step("awp").gradients(work, given, keys(given))

    assert len(work.objective.made) == 1
    assert all_equal(work.objective.made[0], [value.detach() for value in net.parameters()])


@pytest.mark.parametrize("fails_at", [1, 2])
def test_weights_gradients_and_statistics_survive_a_failure(fails_at):
    given, net, calls = batch(), network(normalized=True), []

    def backward(loss):
        calls.append(loss)
        if len(calls) == fails_at:
            raise MemoryError
        loss.backward()

    before = [value.detach().clone() for value in net.parameters()]
    work = work_for(net, "cross_entropy")
    work.backward = backward
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    with pytest.raises(MemoryError):
        parse_step("awp").gradients(work, given, keys(given))

    assert all_equal(before, [value.detach() for value in net.parameters()])
    assert all_equal(gradients(net), [torch.ones_like(value) for value in before])
    assert net[1].num_batches_tracked == fails_at - 1


def test_an_overflow_moves_no_weight():
    """As a scaled loss in half precision makes it; the network must not see a NaN."""
    given, net = batch(), network()
    seen = Seen(net)
    work = work_for(net, "cross_entropy")
    work.classifier = seen
    work.backward = lambda loss: (loss * 1e38 * 1e38).backward()
    losses = parse_step("awp").gradients(work, given, keys(given))
    plain = stepped("plain", given, "cross_entropy", normalized=False)[0]

    assert len(seen.shown) == 2
    assert torch.equal(losses, plain)


def test_mixed_precision_sees_the_moved_weights_and_then_the_old_ones():
    """Within one autocast torch keeps the rounded weights of the first pass."""
    given, net = batch(), network()
    with torch.autocast("cpu", torch.bfloat16):
        before = net(given.images)
        losses = parse_step(f"awp(gamma={GAMMA})").gradients(
            work_for(net, "cross_entropy"), given, keys(given)
        )
        after = net(given.images)
    exact = stepped(f"awp(gamma={GAMMA})", given, "cross_entropy", normalized=False)[0]

    torch.testing.assert_close(losses, exact, rtol=0.05, atol=0.05)
    assert (exact - stepped("plain", given, "cross_entropy", normalized=False)[0]).min() > 0.2
    assert torch.equal(before, after)


def test_weights_without_gradient_stay():
    given, net = batch(), network()
    unused = nn.Parameter(torch.ones(2, 2))
    work = work_for(net)
    work.parameters = [*work.parameters, unused]
    parse_step("awp").gradients(work, given, keys(given))

    assert unused.grad is None
    assert torch.equal(unused.detach(), torch.ones(2, 2))
