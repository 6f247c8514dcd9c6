"""The losses against closed forms, hand-written formulas and other libraries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.spatial import distance
from scipy.special import rel_entr
from scipy.stats import entropy, kstest
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.training.objectives import parse_objective
from holdfast.training.objectives.augmix_jsd import jensen_shannon
from training.objectives.small import (
    SIDE,
    Pair,
    Seen,
    batch,
    double,
    keys,
    linear,
    network,
)

EPS = 8 / 255


def other(given, seed=8):
    """Images around those of a batch, as if attacked."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(given.images.shape, generator=generator, dtype=given.images.dtype)
    return (given.images + 0.4 * (noise - 0.5)).clamp(0, 1)


def two_class(seed=2):
    """A linear network of two classes, and its difference of weights, float64 [192]."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 3 * SIDE * SIDE, generator=generator, dtype=torch.float64) * 0.1
    return linear(weight), weight[1] - weight[0]


def test_trades_adds_the_divergence_of_torch_and_scipy():
    net, given = network().double(), double(batch(mixed=True))
    moved = other(given)
    losses = parse_objective("trades(beta=2.5)").losses(net, replace(given, adversarial=moved))
    clean, attacked = net(given.images), net(moved)
    plain = torch.nn.CrossEntropyLoss(reduction="none")(clean, given.targets)
    by_torch = kl_divergence(Categorical(logits=clean), Categorical(logits=attacked))
    by_scipy = rel_entr(*(logits.detach().softmax(1).numpy() for logits in (clean, attacked))).sum(
        1
    )

    torch.testing.assert_close(losses, plain + 2.5 * by_torch)
    torch.testing.assert_close(losses.detach(), plain.detach() + 2.5 * torch.as_tensor(by_scipy))


def test_trades_looks_for_the_divergence_and_not_for_the_label():
    net, given = network(), batch()
    objective = parse_objective("trades")
    turned = replace(given, targets=given.targets.roll(1, 1))
    crafted = objective.craft(net, given, keys(given))
    relabelled = objective.craft(net, turned, keys(given))
    found = kl_divergence(
        Categorical(logits=net(given.images)), Categorical(logits=net(crafted.adversarial))
    )
    signs = torch.sign(torch.randn(given.images.shape, generator=torch.Generator().manual_seed(1)))
    random = kl_divergence(
        Categorical(logits=net(given.images)), Categorical(logits=net(given.images + EPS * signs))
    )

    assert torch.equal(crafted.adversarial, relabelled.adversarial)
    assert (found > 5 * random).all()


def test_mixture_weighs_two_cross_entropies():
    net, given = network().double(), double(batch(mixed=True))
    moved = other(given)
    losses = parse_objective("mixture(beta=0.3)").losses(net, replace(given, adversarial=moved))
    clean, attacked = (
        -(given.targets * net(x).log_softmax(1)).sum(1) for x in (given.images, moved)
    )

    torch.testing.assert_close(losses, 0.7 * clean + 0.3 * attacked)


def test_batch_normalization_sees_the_mixture_in_one():
    net, given = network(normalized=True), batch()
    moved = other(given)
    parse_objective("mixture").losses(net, replace(given, adversarial=moved))
    twin = network(normalized=True)
    twin(torch.cat([given.images, moved]))

    assert torch.equal(twin[1].running_mean, net[1].running_mean)


@pytest.mark.parametrize("text", ["adversarial", "adversarial(attack=apgd(steps=10))"])
def test_adversarial_training_of_a_linear_network_is_a_margin_less_eps_times_l1(text):
    net, difference = two_class()
    given = batch(6, classes=2)
    losses = parse_objective(text)(net.float(), given, keys(given))
    toward = given.images.double().flatten(1) @ difference * (2 * given.labels - 1)

    worst = F.softplus(-(toward - EPS * difference.abs().sum()))
    torch.testing.assert_close(losses.double(), worst, rtol=1e-4, atol=1e-5)


def test_one_fast_step_passes_the_image_by_a_quarter_of_eps():
    """From anywhere in the ball, 1.25 eps lead to the far side in every pixel."""
    net, difference = two_class()
    given = batch(6, classes=2)
    seen = Seen(net.float())
    crafted = parse_objective("fast").craft(Pair(seen, seen), given, keys(given))
    side = -(2 * given.labels - 1)[:, None] * difference.sign()
    moved = (crafted.adversarial - given.images).flatten(1) * side

    assert moved.min() >= 0.25 * EPS - 1e-6
    assert moved.max() <= EPS + 1e-6
    # It starts uniformly: 3/8 of the pixels are not led out of the ball.
    assert (moved < EPS - 1e-6).double().mean().item() == pytest.approx(3 / 8, abs=0.06)
    assert seen.with_gradient == [True]


def test_mart_of_two_classes_by_hand():
    net, difference = two_class()
    given = double(batch(6, classes=2))
    moved = other(given)
    losses = parse_objective("mart(beta=3)").losses(net, replace(given, adversarial=moved))

    for row in range(6):
        side = 2 * int(given.labels[row]) - 1
        p, q = (
            1 / (1 + math.exp(-side * float(x[row].flatten() @ difference)))
            for x in (given.images, moved)
        )
        # The only wrong class has 1 - q, so that the margin term is the cross-entropy again.
        divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        expected = -2 * math.log(q) + 3 * divergence * (1 - p)
        assert losses[row].item() == pytest.approx(expected, rel=1e-9)


def test_mart_of_three_classes_pushes_down_the_likeliest_wrong_one():
    net, given = network().double(), double(batch(8))
    moved = other(given)
    losses = parse_objective("mart(beta=2)").losses(net, replace(given, adversarial=moved))
    p, q = net(given.images).softmax(1).tolist(), net(moved).softmax(1).tolist()

    for row, label in enumerate(given.labels.tolist()):
        wrong = max(part for place, part in enumerate(q[row]) if place != label)
        divergence = sum(a * math.log(a / b) for a, b in zip(p[row], q[row], strict=True))
        expected = -math.log(q[row][label]) - math.log(1 - wrong)
        expected += 2 * divergence * (1 - p[row][label])
        assert losses[row].item() == pytest.approx(expected, rel=1e-9)
    assert {row.index(max(row)) == y for row, y in zip(q, given.labels.tolist(), strict=True)} == {
        True,
        False,
    }


def test_mart_of_mixed_targets_is_the_expectation():
    net, given = network().double(), double(batch(8, mixed=True))
    given = replace(given, adversarial=other(given))
    objective = parse_objective("mart")
    mixed = objective.losses(net, given)
    expected = torch.zeros(8, dtype=torch.float64)
    for label in range(3):
        pure = F.one_hot(torch.full((8,), label), 3).double()
        losses = objective.losses(net, replace(given, targets=pure))
        expected = expected + given.targets[:, label] * losses

    torch.testing.assert_close(mixed, expected)


def test_mart_without_divergence_does_not_show_the_images():
    net, given = Seen(network()), batch()
    crafted = replace(given, adversarial=other(given))
    bare = parse_objective("mart(beta=0)").losses(net, crafted)
    little = parse_objective("mart(beta=1e-9)").losses(net, crafted)

    assert len(net.shown) == 3
    assert torch.equal(net.shown[0], crafted.adversarial)
    torch.testing.assert_close(bare, little)


def test_divergence_of_views_is_that_of_scipy():
    parts = torch.rand(3, 50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = parts / parts.sum(2, keepdim=True)
    pair = distance.jensenshannon(parts[0], parts[1], axis=1) ** 2
    three = entropy(parts.mean(0), axis=1) - entropy(parts, axis=2).mean(0)

    torch.testing.assert_close(jensen_shannon(parts[:2].log()), torch.as_tensor(pair))
    torch.testing.assert_close(jensen_shannon(parts.log()), torch.as_tensor(three))


def test_divergence_of_views_is_symmetric_and_between_0_and_log_3():
    parts = torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(0)).mul(9).log_softmax(2)
    found = jensen_shannon(parts)
    apart = torch.eye(3).mul(200)[:, None].log_softmax(2)  # each sure of another class

    torch.testing.assert_close(found, jensen_shannon(parts[[2, 0, 1]]))
    torch.testing.assert_close(found, jensen_shannon(parts[[1, 0, 2]]))
    assert 0 <= found.min() and found.max() <= math.log(3)
    assert jensen_shannon(parts[:1].expand(3, -1, -1)).abs().max() < 1e-6
    assert float(jensen_shannon(apart)) == pytest.approx(math.log(3))


def test_augmix_adds_the_divergence_of_three_views():
    net, given = network().double(), double(batch(mixed=True))
    views = torch.stack([other(given, 1), other(given, 2)])
    losses = parse_objective("augmix_jsd(alpha=5)").losses(net, replace(given, views=views))
    parts = [net(images).softmax(1) for images in (given.images, *views)]
    mean = sum(parts) / 3
    spread = sum(Categorical(p).entropy() for p in parts) / 3
    plain = -(given.targets * parts[0].log()).sum(1)

    torch.testing.assert_close(losses, plain + 5 * (Categorical(mean).entropy() - spread))


def test_views_are_pictures_drawn_one_by_one():
    given = batch(8)
    views = parse_objective("augmix_jsd").craft(network(), given, keys(given)).views
    row = given.take(slice(5, 6))
    alone = parse_objective("augmix_jsd").craft(network(), row, keys(row)).views

    assert views.shape == (2, 8, 3, SIDE, SIDE)
    assert torch.equal((views * 255).round() / 255, views)
    assert torch.equal(views[:, 5:6], alone)
    assert all(not torch.equal(views[0, row], views[1, row]) for row in range(8))
    # A mixture of the image with what was made of it stays near it.
    near = (views - given.images).abs().mean()
    far = (views - given.images.roll(1, 0)).abs().mean()
    assert 0 < near < far


@pytest.mark.parametrize(
    ("near", "far", "times"),
    [
        ("severity=1, depth=3", "severity=10, depth=3", 2),
        ("severity=3, depth=1", "severity=3, depth=3", 1.3),
        ("depth=1, width=10", "depth=1, width=1", 1.1),  # many chains even each other out
    ],
)
def test_views_are_as_far_away_as_they_are_told(near, far, times):
    given = batch(40)

    def distance_of(text):
        made = parse_objective(f"augmix_jsd({text})").craft(network(), given, keys(given))
        return (made.views - given.images).abs().mean()

    assert distance_of(far) > times * distance_of(near)


def test_views_need_pictures_of_one_or_three_channels():
    given = batch()
    gray = replace(given, images=given.images[:, :1])
    two = replace(given, images=given.images[:, :2])

    made = parse_objective("augmix_jsd").craft(network(), gray, keys(gray))
    assert made.views.shape == (2, 4, 1, SIDE, SIDE)
    with pytest.raises(BadValueError, match="1 or 3 channels, got 2"):
        parse_objective("augmix_jsd").craft(network(), two, keys(two))


def test_noise_is_normal_and_clipped():
    given = batch(64)
    gray = replace(given, images=torch.full_like(given.images, 0.5))
    noise = parse_objective("gaussian_noise(sigma=0.1)").craft(network(), gray, keys(gray))
    white = replace(given, images=torch.ones_like(given.images))
    clipped = parse_objective("gaussian_noise(sigma=0.1)").craft(network(), white, keys(white))

    assert kstest((noise.images - 0.5).flatten() / 0.1, "norm").pvalue > 0.01
    assert clipped.images.max() == 1
    assert (clipped.images == 1).double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_share_of_the_images_gets_noise():
    given = batch(1000)
    made = parse_objective("gaussian_noise(share=0.3)").craft(network(), given, keys(given))
    noisy = (made.images != given.images).flatten(1)

    assert torch.equal(noisy.any(1), noisy.double().mean(1) > 0.9)  # all of an image, or nothing
    assert noisy.any(1).double().mean().item() == pytest.approx(0.3, abs=0.05)
