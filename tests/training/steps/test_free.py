"""Free adversarial training against a loop written by hand, and its perturbation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.training.objectives import parse_objective
from holdfast.training.steps import parse_step
from training.objectives.small import Seen, all_equal, batch, gradients, keys, network
from training.steps.test_steps import stepped, work_for

EPS = 8 / 255


def at_the_ends(count=4, seed=5):
    """Images with pixels at and near both ends of the box."""
    given = batch(count, seed=seed)
    return replace(given, images=given.images.mul(3).sub(1).clamp(0, 1))


def trained(net, batches, work=None, uses=3):
    """Gradient descent over batches, each used several times."""
    work = work or work_for(net)
    for given in batches:
        work.nominal = len(given)
        for _ in range(uses):
            net.zero_grad()
            parse_step("free").gradients(work, given, keys(given))
            with torch.no_grad():
                for weight in net.parameters():
                    weight.sub_(0.1 * weight.grad)
    return work


def test_a_loop_by_hand():
    """As published, far from the ends of the box, where clipping does not matter."""
    batches = [batch(4, seed=1), batch(4, seed=2), batch(2, seed=3), batch(4, seed=4)]
    net, twin = network(), network()
    trained(net, batches)
    noise = torch.zeros(4, 3, 8, 8)
    for given in batches:
        rows = len(given)
        for _ in range(3):
            moved = noise[:rows].clone().requires_grad_(True)
            loss = F.cross_entropy(twin(given.images + moved), given.labels)
            *slopes, uphill = torch.autograd.grad(loss, [*twin.parameters(), moved])
            noise[:rows] = (noise[:rows] + EPS * uphill.sign()).clamp(-EPS, EPS)
            with torch.no_grad():
                for weight, slope in zip(twin.parameters(), slopes, strict=True):
                    weight.sub_(0.1 * slope)

    for left, right in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_images_stay_within_eps_and_the_box():
    net = network()
    seen = Seen(net)
    work = work_for(net)
    work.classifier = seen
    batches = [at_the_ends(4, 1), at_the_ends(4, 2), at_the_ends(3, 3), at_the_ends(4, 4)]
    trained(net, batches, work)
    shown = iter(seen.shown)

    assert len(seen.shown) == 12
    for given in batches:
        for _ in range(3):
            images = next(shown)
            assert 0 <= images.min() and images.max() <= 1
            assert (images - given.images).abs().max() <= EPS + 1e-7
    assert torch.equal(seen.shown[0], batches[0].images)
    assert not torch.equal(seen.shown[3], batches[1].images)  # what the batch before has left
    (kept,) = work.extra.values()
    assert 0 < kept.abs().max() <= EPS + 1e-7


def test_a_pixel_at_the_end_of_the_box_comes_back():
    """The network likes white first and black then: no pixel may be stuck at an end."""
    given = replace(batch(), images=torch.ones(4, 3, 8, 8))
    work = work_for(network())
    signs = iter([1.0, -1.0, -1.0])
    seen = []

    def classifier(images):
        seen.append(images.detach().mean().item())
        sign = next(signs) * torch.where(given.labels == 0, 1.0, -1.0)
        score = images.mean((1, 2, 3)) * sign * work.parameters[0].sum().exp()
        return torch.stack([-score, score, score], 1)

    work.classifier = classifier
    for _ in range(3):
        parse_step("free").gradients(work, given, keys(given))

    assert seen == pytest.approx([1, 1, 1 - EPS])


def test_a_checkpoint_of_the_perturbation_is_enough_to_go_on():
    batches = [batch(4, seed=seed) for seed in range(4)]
    net, resumed = network(), network()
    trained(net, batches)
    half = trained(resumed, batches[:2])
    fresh = work_for(resumed)
    fresh.extra = {name: value.clone() for name, value in half.extra.items()}
    trained(resumed, batches[2:], fresh)

    assert all_equal(list(net.parameters()), list(resumed.parameters()))


def test_parts_use_their_own_rows():
    given, (net, twin) = batch(5), (network(), network())
    whole, parts = work_for(net, nominal=5), work_for(twin, nominal=5)
    for _ in range(2):
        parse_step("free").gradients(whole, given, keys(given))
        for rows in (slice(0, 2), slice(2, 5)):
            parts.start = rows.start
            part = given.take(rows)
            parse_step("free").gradients(parts, part, keys(part))

    torch.testing.assert_close(*(next(iter(work.extra.values())) for work in (whole, parts)))
    for left, right in zip(gradients(net), gradients(twin), strict=True):
        torch.testing.assert_close(left, right)


def test_once_without_radius_is_plain():
    objective = "adversarial(attack=pgd(eps=0))"

    assert all_equal(
        stepped("free(replays=1)", batch(), objective), stepped("plain", batch(), objective)
    )


def test_images_of_another_size_begin_anew():
    net = network()
    work = trained(net, [batch()])
    large = replace(batch(), images=F.pad(batch().images, (1, 1, 1, 1), value=0.5))
    seen = []

    def classifier(images):
        seen.append(images.detach().clone())
        return net(images[..., 1:-1, 1:-1])

    work.classifier = classifier
    parse_step("free").gradients(work, large, keys(large))

    assert torch.equal(seen[0], large.images)


def test_the_radius_of_the_moment_counts():
    net = network()
    work = trained(net, [batch()])
    seen = Seen(net)
    work.objective, work.classifier = work.objective.grown(0.25), seen
    parse_step("free").gradients(work, batch(), keys(batch()))

    assert (seen.shown[0] - batch().images).abs().max().item() == pytest.approx(EPS / 4, abs=1e-6)


def test_an_overflow_does_not_stay_in_the_perturbation():
    work = work_for(network())
    work.backward = lambda loss: (loss * float("nan")).backward()
    parse_step("free").gradients(work, batch(), keys(batch()))

    assert all(value.isfinite().all() for value in work.extra.values())


def test_images_without_weight_do_not_move():
    work = work_for(network(), "mixture(beta=0)")
    parse_step("free").gradients(work, batch(), keys(batch()))

    assert all((value == 0).all() for value in work.extra.values())


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("cross_entropy", "attacks none"),
        ("gaussian_noise", "attacks none"),
        ("trades", "divergence of trades has none"),
        ("adversarial(attack=pgd(norm=l2))", "Linf"),
        ("adversarial(attack=pgd(target=1))", "no target"),
    ],
)
def test_objectives_it_cannot_replace_are_refused(objective, said):
    with pytest.raises(BadValueError, match=said):
        parse_step("free").check(parse_objective(objective))
    with pytest.raises(BadValueError, match=said):
        parse_step("free").gradients(work_for(network(), objective), batch(), keys(batch()))


@pytest.mark.parametrize("step", ["plain", "awp"])
def test_other_steps_take_any_objective(step):
    assert parse_step(step).check(parse_objective("cross_entropy")) is None
