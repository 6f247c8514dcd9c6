"""Rates, momentum and radius, against torch's own schedulers."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from holdfast.training.recipe import ScheduleSection, TrainSection
from holdfast.training.schedules import Standing, momentum, radius_factor, rate_factor

EPOCHS, AN_EPOCH = 6, 5
STEPS = EPOCHS * AN_EPOCH


def factors(steps=STEPS, an_epoch=AN_EPOCH, **settings):
    schedule = ScheduleSection(**settings)
    return [rate_factor(schedule, Standing(step, steps, an_epoch)) for step in range(steps)]


def inertia(steps=STEPS, **settings):
    schedule = ScheduleSection(**settings)
    return [momentum(schedule, Standing(step, steps, AN_EPOCH)) for step in range(steps)]


def torchs(make, count, repeat=1):
    """Rates and momenta of a scheduler of torch whose peak or start is 1, each several times."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for _ in range(count):
        group = optimizer.param_groups[0]
        rates += [group["lr"]] * repeat
        momenta += [group["momentum"]] * repeat
        optimizer.step()
        if len(rates) < count * repeat:
            scheduler.step()
    return rates, momenta


def test_a_constant_rate_is_the_rate():
    assert [1.0] * STEPS == factors(kind="constant")
    assert [None] * STEPS == inertia(kind="constant") == inertia(kind="cosine")


@pytest.mark.parametrize("end", [0.0, 0.1])
def test_cosine_is_torchs(end):
    def by(count):
        return lambda one: lr_scheduler.CosineAnnealingLR(one, count, eta_min=end)

    assert factors(kind="cosine", end=end) == pytest.approx(torchs(by(STEPS), STEPS)[0])
    assert factors(kind="cosine", end=end, every="epoch") == pytest.approx(
        torchs(by(EPOCHS), EPOCHS, AN_EPOCH)[0]
    )


@pytest.mark.parametrize("every", ["step", "epoch"])
def test_milestones_are_torchs(every):
    expected, _ = torchs(
        lambda one: lr_scheduler.MultiStepLR(one, [2, 5], gamma=0.2), EPOCHS, AN_EPOCH
    )

    assert factors(kind="step", milestones=(2, 5), gamma=0.2, every=every) == pytest.approx(
        expected
    )


def test_a_milestone_may_lie_within_an_epoch():
    found = factors(kind="step", milestones=(1.4,), gamma=0.5)

    assert [1.0] * 7 + [0.5] * 23 == found


@pytest.mark.parametrize("peak", [0.2, 0.3, 0.75])
@pytest.mark.parametrize(("every", "count"), [("step", STEPS), ("epoch", EPOCHS)])
def test_one_cycle_is_torchs(peak, every, count):
    rates, momenta = torchs(
        lambda one: lr_scheduler.OneCycleLR(one, 1.0, total_steps=count, pct_start=peak),
        count,
        STEPS // count,
    )
    settings = {"kind": "onecycle", "peak": peak, "every": every}

    assert factors(**settings) == pytest.approx(rates)
    assert inertia(**settings) == pytest.approx(momenta)


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize("peak", [0.2, 0.25, 0.5, 0.9])
def test_one_cycle_of_few_steps_never_leaves_its_range(steps, peak):
    found = factors(steps, kind="onecycle", peak=peak)
    moved = inertia(steps, kind="onecycle", peak=peak)

    assert all(1 / 25e4 <= one <= 1 for one in found)
    assert all(0.85 <= one <= 0.95 for one in moved)
    assert 1 / 25e4 == pytest.approx(found[-1])


@pytest.mark.parametrize("kind", ["constant", "cosine", "onecycle"])
@pytest.mark.parametrize("every", ["step", "epoch"])
def test_a_warm_up_rises_in_a_line_and_then_the_schedule_begins(kind, every):
    found = factors(kind=kind, every=every, warmup=2)
    after = factors(STEPS - 10, kind=kind, every=every)

    assert [(step + 1) / 11 for step in range(10)] == pytest.approx(found[:10])
    assert after == pytest.approx(found[10:])


@pytest.mark.parametrize("every", ["step", "epoch"])
def test_momentum_waits_for_the_warm_up_too(every):
    found = inertia(kind="onecycle", every=every, warmup=2)

    assert [0.95] * 10 == found[:10]
    assert inertia(STEPS - 10, kind="onecycle", every=every) == pytest.approx(found[10:])


def test_a_warm_up_may_end_within_an_epoch():
    found = factors(kind="cosine", every="epoch", warmup=0.5)

    assert [1 / 3.5, 2 / 3.5, 3 / 3.5, 1.0, 1.0] == pytest.approx(found[:5])
    assert (1 + math.cos(math.pi * 0.5 / 5.5)) / 2 == pytest.approx(found[5])
    assert sorted(found[5:], reverse=True) == found[5:]


def test_milestones_count_from_the_start_of_a_warm_up():
    found = factors(kind="step", milestones=(2,), gamma=0.5, warmup=1)

    assert [1.0] * 5 + [0.5] * 20 == found[5:]


@pytest.mark.parametrize("steps", [7, 11, 12, 14])
def test_an_epoch_that_is_cut_short_counts_as_one(steps):
    # As `max_steps` does; else the rate of its steps would be that of the end: 0.
    found = factors(steps, kind="cosine", every="epoch")
    whole = -(-steps // AN_EPOCH)
    by_hand = [(1 + math.cos(math.pi * (s // AN_EPOCH) / whole)) / 2 for s in range(steps)]

    assert by_hand == pytest.approx(found)
    assert min(found) > 0


def test_the_first_step_moves_and_no_rate_is_negative():
    for kind in ("constant", "cosine", "onecycle"):
        for warmup in (0, 0.5, 1, 99):
            found = factors(kind=kind, warmup=warmup)
            assert found[0] > 0 and min(found) >= 0 and max(found) <= 1


RADII = {
    "constant": [1, 1, 1, 1, 1, 1],
    "linear": [1 / 3, 2 / 3, 1, 1, 1, 1],
    "cosine": [0.25, 0.75, 1, 1, 1, 1],
}


@pytest.mark.parametrize("kind", RADII)
def test_the_radius_grows_epoch_by_epoch(kind):
    train = TrainSection(epochs=6, eps_schedule=kind, eps_share=0.5)

    assert RADII[kind] == pytest.approx([radius_factor(train, epoch) for epoch in range(1, 7)])


def test_a_share_of_one_reaches_the_radius_in_the_last_epoch():
    train = TrainSection(epochs=4, eps_schedule="linear", eps_share=1.0)

    assert [0.25, 0.5, 0.75, 1] == [radius_factor(train, epoch) for epoch in range(1, 5)]
