"""The four losses: the papers' formulas and lightly as judges, closed forms, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, NTXentLoss, VICRegLoss
from torch import distributed
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.core.randomness import keys_for
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives import parse_objective
from holdfast.training.pretrain import SelfSupervised
from training.pretrain.toys import SMALL, Fixed, Projecting, batch_of, normal

NAMES = sorted(SMALL)
PAIRED = [name for name in NAMES if name != "dino"]
HADAMARD = torch.tensor([[1.0]])
for _ in range(3):
    HADAMARD = torch.cat([torch.cat([HADAMARD, HADAMARD], 1), torch.cat([HADAMARD, -HADAMARD], 1)])


def small(name, **fields):
    return parse_objective(name, {**SMALL[name], **fields})


def barlow_by_paper(z, redundancy):
    first, second = ((v - v.mean(0)) / v.std(0, correction=0) for v in z)
    matrix = first.T @ second / z.shape[1]
    on = (1 - matrix.diagonal()).pow(2).sum()
    off = matrix.pow(2).sum() - matrix.diagonal().pow(2).sum()
    return on + redundancy * off


def simclr_by_paper(z, temperature):
    count = z.shape[1]
    unit = F.normalize(z.flatten(0, 1), dim=1)
    losses = []
    for i in range(2 * count):
        other = (i + count) % (2 * count)
        cosines = unit @ unit[i] / temperature
        rest = torch.cat([cosines[:i], cosines[i + 1 :]])
        losses.append(rest.logsumexp(0) - cosines[other])
    return torch.stack(losses).mean()


def vicreg_by_paper(z, invariance, variance, covariance):
    apart = (z[0] - z[1]).pow(2).mean()
    short, together = 0, 0
    for view in z:
        short += F.relu(1 - (view.var(0) + 1e-4).sqrt()).mean() / 2  # the authors' code halves it
        matrix = view.T.cov()
        together += (matrix.pow(2).sum() - matrix.diagonal().pow(2).sum()) / view.shape[1]
    return invariance * apart + variance * short + covariance * together


JUDGES = {
    "barlow_twins": (
        {"redundancy": 0.01},
        lambda z: barlow_by_paper(z, 0.01),
        BarlowTwinsLoss(0.01),
    ),
    "simclr": ({"temperature": 0.3}, lambda z: simclr_by_paper(z, 0.3), NTXentLoss(0.3)),
    "vicreg": (
        {"invariance": 3.0, "variance": 2.0, "covariance": 5.0},
        lambda z: vicreg_by_paper(z, 3.0, 2.0, 5.0),
        VICRegLoss(3.0, 2.0, 5.0),
    ),
}


@pytest.mark.parametrize("name", PAIRED)
def test_a_loss_is_the_papers_and_lightlys(name):
    fields, by_paper, judge = JUDGES[name]
    z = normal(2, 7, 4, dtype=torch.float64) + 0.5
    losses = small(name, **fields).losses(Fixed(z), batch_of(7))
    assert losses.shape == (7,)
    assert bool((losses == losses[0]).all())
    torch.testing.assert_close(losses[0], judge(*z), rtol=0, atol=1e-12)
    # Lightly adds 1e-5 to the variances of Barlow Twins.
    torch.testing.assert_close(losses[0], by_paper(z), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", PAIRED)
def test_neither_the_order_of_images_nor_that_of_views_matters(name):
    z = normal(2, 6, 4, dtype=torch.float64)
    method, batch = small(name), batch_of(6)
    loss = method.losses(Fixed(z), batch)
    shuffled = z[:, torch.tensor([3, 0, 5, 1, 2, 4])]
    torch.testing.assert_close(method.losses(Fixed(shuffled), batch), loss)
    torch.testing.assert_close(method.losses(Fixed(z.flip(0)), batch), loss)


def test_barlow_twins_has_nothing_left_to_do_where_views_agree_and_features_do_not():
    columns = HADAMARD[:, 1:]  # of mean 0, each orthogonal to the others
    loss = small("barlow_twins").losses(Fixed(torch.stack([columns, columns])), batch_of(8))
    assert float(loss[0]) < 1e-6


def test_barlow_twins_of_one_feature_twice_is_the_redundancy_of_both_entries():
    column = HADAMARD[:, 1:2].expand(8, 2)
    method = small("barlow_twins", redundancy=0.25)
    loss = method.losses(Fixed(torch.stack([column, column])), batch_of(8))
    assert float(loss[0]) == pytest.approx(2 * 0.25, rel=1e-4)


@pytest.mark.parametrize("count", [2, 5])
def test_simclr_cannot_tell_equal_projections_apart(count):
    loss = small("simclr").losses(Fixed(torch.ones(2, count, 3)), batch_of(count))
    assert float(loss[0]) == pytest.approx(math.log(2 * count - 1), rel=1e-6)


def test_vicreg_of_equal_projections_is_the_missing_deviation():
    loss = small("vicreg").losses(Fixed(torch.ones(2, 4, 3)), batch_of(4))
    assert float(loss[0]) == pytest.approx(25 * (1 - math.sqrt(1e-4)), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_network_and_the_head(name):
    method = small(name)
    classifier = Projecting(method)
    method(classifier, batch_of(6), keys_for(torch.arange(6), seed=0, stream="t")).mean().backward()
    trained = [*classifier.net.parameters(), *classifier.companion.parameters()]
    # A bias before a batch normalization has no say; all else has.
    moved = [p for p in trained if p.requires_grad and p.ndim > 1]
    assert len(moved) >= 6
    assert all(p.grad is not None and bool(p.grad.any()) for p in moved)
    assert classifier.headless.head.weight.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_make_the_loss_smaller(name):
    method = small(name)
    classifier, batch = Projecting(method), batch_of(8)
    trained = [*classifier.net.parameters(), *classifier.companion.parameters()]
    optimizer = torch.optim.Adam([p for p in trained if p.requires_grad], lr=0.01)
    history = []
    for step in range(10):
        loss = method.losses(classifier, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(classifier, step / 10)
        history.append(float(loss.detach()))
    assert history[-1] < history[0]


@pytest.mark.parametrize("name", PAIRED)
def test_projections_of_16_bits_are_summed_in_32(name):
    z = normal(2, 6, 4).half()
    method, batch = small(name), batch_of(6)
    loss = method.losses(Fixed(z), batch)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, method.losses(Fixed(z.float()), batch))


@pytest.mark.parametrize("name", PAIRED)
def test_one_process_of_a_group_gathers_itself(name):
    z, batch = normal(2, 6, 4), batch_of(6)
    alone = small(name).losses(Fixed(z), batch)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        gathered = small(name).losses(Fixed(z), batch)
    finally:
        distributed.destroy_process_group()
    torch.testing.assert_close(gathered, alone)


@pytest.mark.parametrize("name", NAMES)
def test_one_image_is_refused(name):
    method = small(name)
    with pytest.raises(BadValueError, match="a batch of 1"):
        method.losses(Projecting(method), batch_of(1))


def test_a_batch_without_its_views_is_refused():
    method, batch = small("simclr"), batch_of(4)
    bare = TrainingBatch(batch.images, batch.targets, batch.ids)
    with pytest.raises(BadValueError, match="2 views of each image, got 0"):
        method.losses(Fixed(normal(2, 4, 3)), bare)
    with pytest.raises(BadValueError, match="got 3"):
        method.losses(Fixed(normal(3, 4, 3)), batch_of(4, views=3))


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_found_by_name_and_says_what_it_is(name):
    method = small(name)
    assert isinstance(method, SelfSupervised)
    assert method.couples
    assert parse_objective(method.spec) == method


@pytest.mark.parametrize(
    "text",
    [
        "barlow_twins(projection=0)",
        "barlow_twins(redundancy=-0.1)",
        "barlow_twins(smallest_crop=0)",
        "barlow_twins(smallest_crop=1.1)",
        "barlow_twins(jitter=-0.1)",
        "barlow_twins(jitter=2.5)",
        "barlow_twins(blur=1.5)",
        "barlow_twins(blur=-0.5)",
        "simclr(temperature=0)",
        "simclr(hidden=0)",
        "simclr(projection=-1)",
        "vicreg(projection=0)",
        "vicreg(invariance=0)",
        "vicreg(variance=-1)",
        "vicreg(covariance=0)",
        "dino(prototypes=0)",
        "dino(hidden=0)",
        "dino(bottleneck=0)",
        "dino(temperature=0)",
        "dino(teacher_temperature=-1)",
        "dino(momentum=1.1)",
        "dino(center_momentum=-0.1)",
    ],
)
def test_values_out_of_range_are_refused_by_name(text):
    field = text.partition("(")[2].partition("=")[0]
    with pytest.raises(BadValueError, match=rf"\b{field} must be"):
        parse_objective(text)


def test_an_unknown_field_is_named():
    with pytest.raises(UnknownNameError, match="projection"):
        parse_objective("barlow_twins(projections=8)")
