"""Anytime evaluation: draw until the interval is narrow, and count a prefix only."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import Bright, Textured, pictures
from holdfast.core.errors import BadValueError
from holdfast.data import open_dataset, shuffled
from holdfast.metrics import bernoulli_sequence
from measuring.attacked import attacked, measure, row, stored

COUNT, PART = 640, 64
EASY, HARD = "pgd(eps=0.001, steps=2)", "pgd(eps=0.02, steps=2)"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small pictures whose class the bright model knows."""
    path = tmp_path_factory.mktemp("data") / "a.npz"
    images = pictures(COUNT, 8)
    np.savez(path, x=images, y=(images.mean((1, 2, 3)) / 255 > 0.5).astype(np.int64))
    return open_dataset(f"npz:{path}", split="test")


def drawn(data, perturb=EASY, *, model=None, until=0.1, **options):
    return measure(perturb, model=model or Bright(), data=data, until_halfwidth=until, **options)


@pytest.fixture(scope="module")
def easy(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("stopping") / "s"
    return path, drawn(data, store=path)


def test_an_easy_model_needs_few_images(easy):
    assert PART <= row(easy[1])["count"] < COUNT / 2


def test_the_interval_is_as_narrow_as_asked(easy):
    for place in (0, 1):
        found = row(easy[1], place)
        assert (found["high"] - found["low"]) / 2 <= 0.1


def test_whole_parts_of_the_fixed_order_are_counted(easy):
    samples = attacked(easy[1])

    assert 0 == len(samples) % PART
    assert sorted(shuffled(COUNT)[: len(samples)]) == samples["id"].to_list()


def test_one_part_less_would_not_do(data, easy):
    samples = attacked(easy[1])
    correct = dict(zip(samples["id"], samples["correct"], strict=True))
    before = [correct[id_] for id_ in shuffled(COUNT)[: len(samples) - PART]]
    low, high = bernoulli_sequence(sum(before), len(before), population=COUNT)

    assert (high - low) / 2 > 0.1


def test_the_interval_is_the_confidence_sequence(easy):
    for place in (0, 1):
        correct = attacked(easy[1], place)["correct"]
        expected = bernoulli_sequence(int(correct.sum()), len(correct), population=COUNT)
        assert tuple(expected) == (row(easy[1], place)["low"], row(easy[1], place)["high"])


@pytest.mark.parametrize("perturb", [EASY, HARD])
def test_the_interval_holds_the_accuracy_on_all_images(data, perturb):
    some, whole = drawn(data, perturb), measure(perturb, model=Bright(), data=data)

    assert COUNT == row(whole)["count"]
    for place in (0, 1):
        found = row(some, place)
        assert found["low"] <= row(whole, place)["value"] <= found["high"]


def test_what_is_counted_are_the_numbers_of_the_whole(data, easy):
    some = attacked(easy[1])
    whole = attacked(measure(EASY, model=Bright(), data=data))

    assert some["correct"].equals(whole.filter(whole["id"].is_in(some["id"].to_list()))["correct"])


def test_all_radii_are_narrow(data):
    results = drawn(data, "pgd(eps=[0.001, 0.02], steps=2)")

    for place in (1, 2):
        assert (row(results, place)["high"] - row(results, place)["low"]) / 2 <= 0.1


def test_a_radius_among_others_is_cut_where_it_would_be_alone(data, easy):
    results = drawn(data, "pgd(eps=[0.001, 0.02, 0.1], steps=2)")
    counts = [row(results, place)["count"] for place in (1, 2, 3)]

    assert len(set(counts)) > 1
    assert row(easy[1])["run_id"] == row(results, 1)["run_id"]
    assert attacked(easy[1]).equals(attacked(results, 1))


def test_an_interval_too_narrow_to_reach_early_takes_all_images(data):
    assert COUNT == row(drawn(data, "clean", until=1e-6))["count"]


def test_all_images_have_the_ordinary_interval(data):
    drawn_all = row(drawn(data, "clean", model=Guess(), until=1e-6))
    plain = row(measure("clean", model=Guess(), data=data))

    assert plain["low"] < plain["value"] < plain["high"]
    assert (plain["low"], plain["high"]) == (drawn_all["low"], drawn_all["high"])
    assert "optional_stopping" not in drawn_all["flags"]


def test_stopping_is_told(data, easy):
    assert all("optional_stopping" in row(easy[1], place)["flags"] for place in (0, 1))
    plain = measure("clean", model=Bright(), data=data)
    assert "optional_stopping" not in row(plain)["flags"]


def test_a_stopped_run_is_another_run(data):
    runs = [
        row(measure("clean", model=Bright(), data=data))["run_id"],
        row(drawn(data, "clean"))["run_id"],
        row(drawn(data, "clean", until=0.2))["run_id"],
    ]

    assert 3 == len(set(runs))


def test_a_repeated_command_measures_nothing(data, easy):
    steps = []
    path, results = easy
    again = drawn(data, store=path, progress=steps.append)

    assert [] == steps
    assert results.measurements.equals(again.measurements)


class Dying(Bright):
    """Leaves the process, as a kill does, after some calls."""

    left = 10**9

    def forward(self, images):
        type(self).left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().forward(images)


def test_an_interrupted_run_stops_where_it_would_have(data, easy, tmp_path, monkeypatch):
    monkeypatch.setattr(Dying, "left", 10)
    with pytest.raises(KeyboardInterrupt):
        drawn(data, model=Dying(), store=tmp_path / "s")
    monkeypatch.setattr(Dying, "left", 10**9)
    results = drawn(data, model=Dying(), store=tmp_path / "s")

    assert (
        attacked(easy[1])
        .drop("confidence", "nll", "brier")
        .equals(attacked(results).drop("confidence", "nll", "brier"))
    )
    assert 2 == len(stored(tmp_path / "s"))


def test_several_devices_stop_where_one_does(data, easy):
    several = drawn(data, device="cpu,cpu")

    assert attacked(easy[1])["id"].equals(attacked(several)["id"])
    assert attacked(easy[1])["correct"].equals(attacked(several)["correct"])


class Purified(Bright):
    """Differentiates while it predicts."""

    def forward(self, images):
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            torch.autograd.grad(leaf.sum(), leaf)
        return super().forward(images)


def test_flags_are_told_although_the_run_was_stopped(data):
    assert "dynamic_defense" in row(drawn(data, model=Purified()))["flags"]


def test_all_of_a_drawn_subset_has_the_ordinary_interval(data):
    found = row(drawn(data, "clean", until=1e-6, n=100))
    plain = row(measure("clean", model=Bright(), data=data, n=100))

    assert 100 == found["count"]
    assert (plain["low"], plain["high"]) == (found["low"], found["high"])


@pytest.mark.parametrize("until", [0.7, 0.5, 0.0, -0.1, float("nan")])
def test_a_half_width_out_of_range_is_refused(data, until):
    with pytest.raises(BadValueError, match=r"between 0 and 0\.5"):
        drawn(data, until=until)


def test_images_given_as_tensors_cannot_be_drawn():
    with pytest.raises(BadValueError, match="until_halfwidth chooses from a data set"):
        measure("clean", model=Textured(), until_halfwidth=0.1)


class Guess(nn.Module):
    """Right for about half of the images."""

    def forward(self, images):
        odd = (images.sum((1, 2, 3)) * 255).round() % 2
        return torch.stack([odd, 1 - odd], 1) * 5


def test_half_right_models_need_more_images(data):
    guess = drawn(data, "clean", model=Guess())

    assert row(guess)["count"] > row(drawn(data, "clean"))["count"]


def test_the_size_of_the_set_narrows_the_interval(data):
    whole = attacked(measure("clean", model=Guess(), data=data))
    correct = dict(zip(whole["id"], whole["correct"], strict=True))
    right = np.cumsum([correct[id_] for id_ in shuffled(COUNT)])
    widths = {
        count: np.subtract(
            *bernoulli_sequence(int(right[count - 1]), count, population=COUNT)[::-1]
        )
        for count in range(PART, COUNT + 1, PART)
    }
    expected = min(count for count, width in widths.items() if width / 2 <= 0.03)

    assert expected < COUNT
    assert expected == row(drawn(data, "clean", model=Guess(), until=0.03))["count"]
