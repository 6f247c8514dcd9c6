"""Advice: what is measured, what is only predicted, and what is not advised."""

from __future__ import annotations

import math

import polars as pl
import pytest

from holdfast import load_data, measure
from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.explain.advice import Question, Step, advise
from holdfast.explain.advice.candidates import default_changes
from holdfast.explain.advice.tuned import FineTuning
from holdfast.explain.advice.verdict import ordered, verdict
from holdfast.models import load_model
from holdfast.models.surgery.low_pass import LowPass
from holdfast.records import Store
from holdfast.records.explanations import Advised, Consequence, Value

NOISE = "gaussian_noise(sigma=0.12)"
SMALL = ("low_pass(std=0.6)", "larger_stem(add=2, start=embed)", "average_pooling(where=all)")


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", split="test")


def run(dataset, **settings):
    settings = {"model": "small:cnn", "n": 40, "changes": SMALL, "device": "cpu"} | settings
    events = list(advise(Question(dataset=dataset, **settings)))
    assert all(isinstance(one, Step) for one in events[:-1])
    return events[-1]


@pytest.fixture(scope="module")
def found(digits):
    return run(digits)


def of(found, change):
    return next(one for one in found.advised if one.change == change)


class TestAdvise:
    def test_what_it_measures_is_what_measure_measures(self, found, digits):
        model = "small:cnn + low_pass(std=0.6)"
        results = measure(model, digits, NOISE, n=40, device="cpu")
        part = {c.condition: c for c in of(found, "low_pass(std=0.6)").consequences}

        for condition in ("clean", NOISE):
            assert part[condition].after.value == results.value("accuracy", condition)
        assert of(found, "low_pass(std=0.6)").model == model

    def test_the_difference_is_paired(self, found):
        for part in of(found, "low_pass(std=0.6)").consequences:
            assert part.measured.value == pytest.approx(part.after.value - part.before.value)
            assert part.measured.low <= part.measured.value <= part.measured.high
            assert part.measured.count == 40

    def test_a_change_that_keeps_the_function_changes_nothing(self, found):
        for part in of(found, "larger_stem(add=2, start=embed)").consequences:
            assert (part.predicted.value, part.measured.value) == (0, 0)

    def test_clean_and_noise_are_predicted_and_nothing_else(self, digits):
        found = run(digits, n=12, changes=SMALL[:1], perturb=("contrast(severity=3)",))
        clean, noisy, other = found.advised[0].consequences

        assert math.isfinite(clean.predicted.value + noisy.predicted.value)
        assert math.isnan(other.predicted.value)
        assert "as noise of sigma" in found.advised[0].why

    def test_what_does_not_apply_says_why_and_is_last(self, found):
        last = found.advised[-1]

        assert (last.change, last.status) == ("average_pooling(where=all)", "does not apply")
        assert "no max pooling layer" in last.why
        assert last.consequences == ()

    def test_few_images_are_flagged(self, found):
        assert "Only 40 images" in found.flags[0]

    def test_the_curve_begins_clean_and_reaches_beyond_the_noise(self, found):
        sigmas = [sigma for sigma, _ in found.curve]

        assert sigmas[0] == 0
        assert max(sigmas) > 0.12

    def test_a_lower_resolution_is_measured_with_noise_before_it(self, digits):
        one = of(run(digits, changes=("resolution(size=24)",), n=10), "resolution(size=24)")

        # The network takes any size, so that there is nothing to lower.
        assert one.status == "does not apply"

    def test_it_goes_on_where_it_was(self, digits, tmp_path, monkeypatch):
        first = run(digits, folder=tmp_path, n=12)
        runs = len(Store(tmp_path / "store").measurements()["run_id"].unique())
        monkeypatch.setattr("holdfast.measuring.loop._score", pytest.fail)
        second = run(digits, folder=tmp_path, n=12)

        assert runs > 0
        assert first == second

    def test_a_change_that_breaks_is_a_row_and_the_others_go_on(self, digits, monkeypatch):
        def broken(self, classifier):
            raise BadValueError("it broke")

        monkeypatch.setattr(LowPass, "change", broken)
        found = run(digits, n=12)

        assert (of(found, SMALL[0]).status, of(found, SMALL[0]).why) == ("failed", "it broke")
        assert of(found, SMALL[1]).status == "measured"

    def test_further_conditions_are_measured(self, digits):
        found = run(digits, n=12, changes=SMALL[:1], perturb=("contrast(severity=3)",))

        assert found.conditions == ("clean", NOISE, "contrast(severity=3)")
        assert [c.condition for c in found.advised[0].consequences] == list(found.conditions)

    @pytest.mark.slow
    def test_both_are_fine_tuned_first(self, digits, tmp_path):
        tuning = FineTuning(epochs=1, data="digits", split="train")
        found = run(digits, fine_tuning=tuning, folder=tmp_path, n=40)
        one = of(found, "larger_stem(add=2, start=embed)")

        assert one.fine_tuned == 1
        assert len(list((tmp_path / "trainings").iterdir())) == 3  # the original and two changed
        assert not math.isnan(one.consequences[1].predicted.value)


class TestBadInput:
    @pytest.mark.parametrize("sigma", [0, -1, 2, math.nan])
    def test_sigma(self, digits, sigma):
        with pytest.raises(BadValueError, match=r"sigma must be in \(0, 1\]"):
            run(digits, sigma=sigma)

    def test_a_changed_model_is_asked_about_as_the_original(self, digits):
        with pytest.raises(BadValueError, match="ask about the original"):
            run(digits, model="small:cnn + low_pass(std=0.5)")

    def test_an_unknown_change_is_told_before_anything_is_measured(self, digits):
        with pytest.raises(UnknownNameError, match="low_pass"):
            run(digits, changes=("low_pas(std=0.5)",))


class TestDefaults:
    def test_sizes_are_below_the_models_own(self):
        changes = [one.spec for one in default_changes(load_model("small:cnn"))]

        assert not any("resolution" in one for one in changes)
        assert "low_pass(std=0.6)" in changes

    def test_a_network_of_fixed_size_is_tried_smaller(self):
        classifier = load_model("timm:test_resnet", pretrained=False, device="cpu")
        sizes = [one.size for one in default_changes(classifier) if one.name == "resolution"]

        assert sizes == [128]


def consequence(condition, value):
    return Consequence(
        condition=condition,
        predicted=Value(),
        measured=Value(value=value, low=value - 0.01, high=value + 0.01, count=100),
        before=Value(),
        after=Value(),
    )


def advised(name, clean, noisy):
    return Advised(change=name, consequences=(consequence("clean", clean), consequence("n", noisy)))


class TestVerdict:
    def test_the_largest_gain_at_an_acceptable_loss_is_advised(self):
        rows = [advised("a", -0.005, 0.03), advised("b", -0.05, 0.2), advised("c", 0.0, 0.021)]

        assert verdict(rows, "n", 0.02, 0.01).startswith("a gains +3.0 points [2.0, 4.0] under n")
        assert [one.change for one in ordered(rows, "n", 0.01)] == ["a", "c", "b"]

    def test_bounds_count(self):
        assert "a gains" in verdict([advised("a", -0.01, 0.02)], "n", 0.02, 0.01)
        assert "No change" in verdict([advised("a", -0.011, 0.02)], "n", 0.02, 0.01)
        assert "No change" in verdict([advised("a", -0.01, 0.019)], "n", 0.02, 0.01)

    def test_two_points_by_count_are_two_points_whatever_floats_say(self):
        assert "a gains" in verdict([advised("a", -0.01 - 1e-12, 0.02 - 1e-12)], "n", 0.02, 0.01)

    def test_a_gain_that_may_be_none_is_said_so(self):
        wide = advised("a", 0.0, 0.03)
        part = wide.consequences[1].model_copy(
            update={"measured": Value(value=0.03, low=-0.01, high=0.07, count=50)}
        )
        row = wide.model_copy(update={"consequences": (wide.consequences[0], part)})

        assert "not certain" in verdict([row], "n", 0.02, 0.01)

    def test_the_best_of_several_is_said_to_be_chosen(self):
        one, other = advised("a", 0.0, 0.03), advised("b", 0.0, 0.0)

        assert "it is the best of 2 changes" in verdict([one, other], "n", 0.02, 0.01)
        assert "the best of" not in verdict([one], "n", 0.02, 0.01)

    def test_nothing_measured_nothing_advised(self):
        row = Advised(change="a", status="does not apply")

        assert verdict([row], "n", 0.02, 0.01) == "No change could be measured, so none is advised."


def test_samples_of_the_store_are_those_of_the_advice(digits, tmp_path):
    found = run(digits, folder=tmp_path, n=12, changes=SMALL[:1])
    frame = Store(tmp_path / "store").measurements()
    right = frame.filter(
        (pl.col("condition") == "clean")
        & (pl.col("metric") == "accuracy")
        & pl.col("model").str.contains("low_pass")
    )

    assert right["value"].to_list() == [found.advised[0].consequences[0].after.value]


def test_fine_tuning_begins_with_the_last_layer_that_is_there(digits):
    recipe = FineTuning(epochs=1, data="digits", split="train").recipe("small:cnn")

    assert recipe.model.part == "all"


def test_an_untrained_model_is_flagged(found):
    assert any("untrained" in flag for flag in found.flags)


def test_predictions_that_missed_are_counted(digits):
    found = run(digits, n=40)
    both = [
        part
        for one in found.advised
        for part in one.consequences
        if part.predicted.low < part.predicted.high
    ]
    missed = [p for p in both if not p.measured.low <= p.predicted.value <= p.measured.high]
    said = [flag for flag in found.flags if "predictions lie outside" in flag]

    assert len(both) == 2
    assert said == (
        [f"{len(missed)} of 2 predictions lie outside of the measured intervals."] if missed else []
    )
