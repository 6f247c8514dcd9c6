"""Attacks through the measuring loop: one run a radius, and what the record says of it."""

import math

import pytest
import torch

from helpers import Bright, Textured, write_npz
from holdfast.core.errors import HoldfastError
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import Store
from measuring.attacked import (
    COUNT,
    CURVE,
    IMAGES,
    LABELS,
    MODEL,
    WEAK,
    attacked,
    measure,
    row,
    stored,
)

SEARCH = ("forward_evals", "gradient_evals", "evals_pgd")  # cost, which depends on what was stored


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    path = tmp_path_factory.mktemp("curve") / "s"
    return path, measure(CURVE, store=path)


def other_source(seed):
    """A model like the measured one with other weights."""
    net = Textured()
    numbers = torch.Generator().manual_seed(seed)
    for place in (0, 3):
        torch.nn.init.normal_(net.net[place].weight, std=0.5, generator=numbers)
    return net


def ids_of(results):
    return results.measurements.filter(metric="accuracy")["run_id"].to_list()


def test_each_radius_is_a_run_of_its_own(curve):
    path, results = curve

    assert [None, 0.002, 0.004, 0.02] == [row(results, place)["eps"] for place in range(4)]
    assert 4 == len(Store.existing(path).runs())


def test_the_smallest_radius_is_the_run_it_is_alone(curve):
    _, results = curve
    alone = measure(WEAK)

    assert ids_of(results)[1] == ids_of(alone)[1]
    assert attacked(results, 1).equals(attacked(alone))


def test_a_larger_radius_is_another_run_than_alone(curve):
    _, results = curve
    alone = measure("pgd(eps=0.004, steps=4)")

    assert ids_of(results)[2] != ids_of(alone)[1]


def test_a_repeated_command_has_the_same_runs(curve):
    path, results = curve
    again = measure(CURVE, store=path)

    assert ids_of(results) == ids_of(again)
    assert results.measurements.equals(again.measurements)


def test_what_fell_at_a_radius_has_fallen_at_all_larger_ones(curve):
    _, results = curve
    smaller, larger = attacked(results, 1), attacked(results, 2)
    fell = ~smaller["correct"]

    assert 0 < fell.sum() < COUNT
    assert not larger.filter(fell)["correct"].any()
    assert smaller.filter(fell)["norm"].equals(larger.filter(fell)["norm"])


def test_a_missing_radius_is_measured_again_and_the_others_are_left(tmp_path):
    path = tmp_path / "s"
    whole = measure(CURVE, store=path)
    lost, *kept = reversed(ids_of(whole))
    before = {run: (path / run / "samples.parquet").stat().st_mtime_ns for run in kept}
    (path / lost / "samples.parquet").unlink()
    again = measure(CURVE, store=path)

    assert before == {run: (path / run / "samples.parquet").stat().st_mtime_ns for run in kept}
    assert attacked(whole).drop(SEARCH).equals(attacked(again).drop(SEARCH))


def test_a_missing_radius_in_the_middle_gets_the_same_numbers(tmp_path):
    path = tmp_path / "s"
    whole = measure(CURVE, store=path)
    (path / ids_of(whole)[2] / "samples.parquet").unlink()
    again = measure(CURVE, store=path)

    assert attacked(whole, 2).drop(SEARCH).equals(attacked(again, 2).drop(SEARCH))


def test_the_record_says_norm_radius_and_steps(curve):
    last = row(curve[1])

    assert ("attack", "linf", 0.02, 4) == tuple(
        last[name] for name in ("family", "norm", "eps", "steps")
    )


def test_joined_attacks_have_no_number_of_steps():
    last = row(measure("fgsm(eps=0.002) + pgd(eps=0.002, steps=4)"))

    assert (0.002, None) == (last["eps"], last["steps"])


def test_a_minimum_norm_attack_has_no_radius():
    assert row(measure("ddn(steps=4)"))["eps"] is None


def test_a_sample_says_what_broke_it(curve):
    first = attacked(curve[1], 1)

    assert {"pgd", "clean", None} == set(first["broken_by"])
    assert ["clean"] == first.filter(id=5)["broken_by"].to_list()
    assert first["broken_by"].is_null().equals(first["correct"], check_names=False)


def test_a_standing_sample_has_no_norm_and_a_wrong_one_has_zero(curve):
    first = attacked(curve[1], 1)

    assert first.filter("correct")["norm"].is_nan().all()
    assert [0.0] == first.filter(broken_by="clean")["norm"].to_list()


def test_norms_of_the_fallen_lie_within_the_radius(curve):
    for place, eps in enumerate((0.002, 0.004, 0.02), 1):
        fallen = attacked(curve[1], place).filter(~attacked(curve[1], place)["correct"])
        assert fallen["norm"].max() <= eps * (1 + 1e-5)


def test_evaluations_are_told_by_attack():
    samples = attacked(measure("fgsm(eps=1e-6) + square(eps=1e-6, queries=6)"))
    standing = samples.filter("correct")

    assert [2] == standing["evals_fgsm"].unique().to_list()
    assert 6 <= standing["evals_square"].min()
    assert (standing["evals_fgsm"] + standing["evals_square"] + 1).equals(
        standing["forward_evals"], check_names=False
    )


def test_two_members_of_one_name_are_told_apart():
    samples = attacked(measure("pgd(eps=1e-6, steps=2) + pgd(eps=1e-6, steps=3)"))

    assert {"evals_pgd", "evals_pgd-2"} <= set(samples.columns)


def test_the_canonical_text_measures_the_same_run(curve):
    conditions = list(curve[1].samples)

    assert conditions == ["clean", *(p.spec for p in parse_conditions(conditions[1:])[1:])]


def test_batch_size_changes_no_verdict():
    one, other = attacked(measure(WEAK)), attacked(measure(WEAK, batch_size=5))

    assert one["correct"].equals(other["correct"])


def test_bfloat16_search_is_another_run_for_attacks_alone():
    plain, reduced = measure(WEAK), measure(WEAK, precision="bfloat16")

    assert ids_of(plain)[0] == ids_of(reduced)[0]
    assert ids_of(plain)[1] != ids_of(reduced)[1]


def test_an_attack_without_readable_images_says_so(tmp_path):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    (folder.parent / "dog").mkdir()
    for name in (folder / "a.png", folder.parent / "dog" / "b.png"):
        name.write_bytes(b"no picture")
    data = f"folder:{tmp_path / 'photos'}"
    last = row(measure(WEAK, model=Bright(), data=data, split="test"))

    assert ("ok", ["broken_images", "no_images"], 0) == (
        last["status"],
        last["flags"],
        last["count"],
    )
    assert math.isnan(last["value"])


# Transfer: crafted on one model, judged by another.


def test_a_transferred_attack_names_its_source():
    condition = row(measure(WEAK, transfer_from=other_source(1)))["condition"]

    assert " from Textured@" in condition


def test_a_clean_run_is_the_same_with_a_source():
    source = other_source(1)

    assert ids_of(measure(WEAK))[0] == ids_of(measure(WEAK, transfer_from=source))[0]


def test_other_weights_of_the_source_are_another_run():
    runs = [ids_of(measure(WEAK, transfer_from=other_source(seed))) for seed in (1, 2)]

    assert runs[0][1] != runs[1][1]


def test_an_attack_transferred_from_the_model_itself_breaks_what_its_last_step_breaks():
    strong = "pgd(eps=0.02, steps=10)"

    assert 0.0 == row(measure(strong, transfer_from=MODEL))["value"]
    assert row(measure(strong, transfer_from=other_source(1)))["value"] > 0.5


def test_the_source_is_not_asked_for_the_verdict():
    # It has other classes besides: what it says of the images plays no part.
    results = measure(WEAK, transfer_from=other_source(1))

    assert attacked(results, 0)["prediction"].to_list() == MODEL(IMAGES).argmax(1).tolist()
    assert ["clean"] == attacked(results).filter(id=5)["broken_by"].to_list()


@pytest.mark.parametrize("spec", ["pgd(eps=0.002, steps=12)", "pgd(eps=0.5, steps=2)"])
def test_a_transferred_attack_has_no_flags_of_white_boxes(spec):
    assert [] == row(measure(spec, transfer_from=other_source(1)))["flags"]


# Failures


def test_labels_that_are_true_or_false_are_refused():
    with pytest.raises(HoldfastError, match=r"whole numbers \[N\].*torch\.bool"):
        measure(WEAK, data=(IMAGES, LABELS > 2))


class Blind(Textured):
    """Gives logits without gradients."""

    def forward(self, images):
        return super().forward(images.detach()).detach()


def test_a_model_without_gradients_is_told_what_to_do():
    clean, last = (row(measure(WEAK, model=Blind()), place) for place in (0, 1))

    assert ("ok", "failed") == (clean["status"], last["status"])
    assert "Attack it with square" in last["error"]


def test_a_model_without_gradients_can_be_attacked_by_square():
    assert "ok" == row(measure("square(eps=0.02, queries=4)", model=Blind()))["status"]


def test_a_failed_group_fails_all_its_radii():
    results = measure(CURVE, model=Blind())

    assert ["ok", *["failed"] * 3] == [row(results, place)["status"] for place in range(4)]


class Tired(Textured):
    """Fails after some calls."""

    left = 10**9

    def forward(self, images):
        type(self).left -= 1
        if self.left < 0:
            raise RuntimeError("too tired")
        return super().forward(images)


def test_a_run_that_failed_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Tired, "left", 12)
    failed = measure(WEAK, model=Tired(), store=tmp_path / "s")
    monkeypatch.setattr(Tired, "left", 10**9)
    again = measure(WEAK, model=Tired(), store=tmp_path / "s")

    assert ("failed", "ok") == (row(failed)["status"], row(again)["status"])
    assert attacked(measure(WEAK)).equals(attacked(again))


def test_a_drawn_subset_is_attacked_as_within_the_whole(tmp_path):
    data = f"npz:{write_npz(tmp_path / 'a.npz', 20)}"
    spec = "pgd(eps=0.02, steps=3)"
    whole = attacked(measure(spec, model=Bright(), data=data, split="test"))
    few = attacked(measure(spec, model=Bright(), data=data, split="test", n=7))

    assert few.equals(whole.filter(whole["id"].is_in(few["id"].to_list())))


def test_a_stored_curve_can_be_read_back(curve):
    path, results = curve

    assert {name: frame.shape for name, frame in results.samples.items()} == {
        name: frame.shape for name, frame in stored(path).items()
    }


def test_another_number_of_classes_is_no_source():
    torch.manual_seed(0)
    source = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(7))

    with pytest.raises(HoldfastError, match=r"gives 7 classes, and .* gives"):
        measure("fgsm(eps=8/255)", transfer_from=source)


@pytest.mark.parametrize("wanted", [None, 3])
def test_what_is_no_condition_is_refused(wanted):
    with pytest.raises(HoldfastError, match="expected a condition"):
        measure(wanted)
