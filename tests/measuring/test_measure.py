import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import holdfast
from helpers import Bright, Textured, pictures, write_npz
from holdfast.core.errors import BadTypeError, BadValueError, HoldfastError, UnknownNameError
from holdfast.metrics import wilson
from holdfast.perturb.corruptions import CORRUPTIONS
from holdfast.records import MEASUREMENT_COLUMNS, SAMPLE_COLUMNS

IMAGES = pictures(150)
BRIGHT = torch.from_numpy((IMAGES.mean((1, 2, 3)) / 255 > 0.5).astype(np.int64))
UNIT = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
CLASSES = torch.arange(150) % 5
SOME = ["gaussian_noise(severity=5)", "fog(severity=3)", "glass_blur(severity=5)"]


def own_figures(frame):
    """What a run says of itself and not of its machine or the moment."""
    return frame.drop("seconds").sort("condition", "metric")


def test_a_model_that_is_right_scores_one():
    results = holdfast.measure(Bright(), (UNIT, BRIGHT))
    row = results.measurements.filter(metric="accuracy").row(0, named=True)

    assert (1.0, 150, "ok", "clean") == (
        row["value"],
        row["count"],
        row["status"],
        row["condition"],
    )
    assert (row["low"], row["high"]) == pytest.approx(tuple(wilson(150, 150)), abs=1e-12)


def test_the_record_equals_a_bare_loop():
    net = Textured()
    results = holdfast.measure(net, (UNIT, CLASSES), "contrast(severity=3)")
    mean = UNIT.mean((2, 3), keepdim=True)
    corrupted = (mean + 0.4 * (UNIT - mean)).clamp(0, 1).mul(255).add(1e-3).floor() / 255
    with torch.no_grad():
        logits = net(corrupted)
    expected = (logits.argmax(1) == CLASSES).double().mean().item()
    samples = results.samples["contrast(severity=3)"]

    assert expected == results.value("accuracy", "contrast(severity=3)")
    assert logits.argmax(1).tolist() == samples["prediction"].to_list()
    assert np.allclose(logits.softmax(1).max(1).values, samples["confidence"], atol=1e-5)


def test_rows_have_the_columns_of_the_schema():
    results = holdfast.measure(Bright(), (UNIT, BRIGHT), "fog(severity=3)")

    assert list(MEASUREMENT_COLUMNS) == results.measurements.columns
    assert list(SAMPLE_COLUMNS) == results.samples["clean"].columns
    assert {"clean", "fog(severity=3)"} == set(results.measurements["condition"])
    fog = results.measurements.filter(condition="fog(severity=3)").row(0, named=True)
    assert ("corruption", 3, None) == (fog["family"], fog["severity"], fog["sigma"])
    assert 150 == fog["forward_evals"]


def test_a_corruption_without_a_severity_means_all_five():
    results = holdfast.measure(Bright(), (UNIT[:8], BRIGHT[:8]), "contrast")

    assert {1, 2, 3, 4, 5} == set(results.measurements["severity"].drop_nulls())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_changes_no_verdict(batch_size):
    def run(size):
        return holdfast.measure(Textured(), (UNIT, CLASSES), SOME, batch_size=size)

    one, other = run(150), run(batch_size)
    for condition in ["clean", *SOME]:
        a, b = one.samples[condition], other.samples[condition]
        assert a["prediction"].equals(b["prediction"])
        assert np.abs(a["confidence"].to_numpy() - b["confidence"].to_numpy()).max() < 1e-4


def test_the_seed_decides_the_noise():
    def run(seed):
        return holdfast.measure(Textured(), (UNIT, CLASSES), SOME[0], seed=seed).samples[SOME[0]]

    assert run(0).equals(run(0))
    assert not run(0).equals(run(1))


def test_an_image_gets_the_same_noise_alone_and_in_company(tmp_path):
    data = holdfast.load_data(f"npz:{write_npz(tmp_path / 'a.npz', 60, 5)}", split="test")
    whole = holdfast.measure(Textured(), data, SOME).samples
    part = holdfast.measure(Textured(), data, SOME, n=9).samples

    for condition in SOME:
        joined = part[condition].join(whole[condition], on="id", suffix="_whole")
        assert 9 == len(joined)
        assert joined["prediction"].equals(joined["prediction_whole"], check_names=False)
        difference = joined["confidence"] - joined["confidence_whole"]
        assert difference.abs().max() < 1e-4


def test_the_global_generators_are_left_alone():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    holdfast.measure(Textured(), (UNIT, CLASSES), SOME)

    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_a_loader_and_a_pair_give_the_same():
    loader = DataLoader(TensorDataset(UNIT, CLASSES), batch_size=32)
    one = holdfast.measure(Textured(), loader, SOME[0]).samples[SOME[0]]
    other = holdfast.measure(Textured(), (UNIT, CLASSES), SOME[0]).samples[SOME[0]]

    assert one["prediction"].equals(other["prediction"])


def test_numpy_pictures_are_taken_as_they_are():
    results = holdfast.measure(Bright(), (IMAGES, BRIGHT.numpy()))

    assert 1.0 == results.value()


def test_nan_logits_are_wrong_flagged_and_never_averaged():
    class Blind(Bright):
        def forward(self, images):
            logits = super().forward(images)
            logits[images.mean((1, 2, 3)) > 0.5] = float("nan")
            return logits

    results = holdfast.measure(Blind(), (UNIT, BRIGHT))
    right = int((BRIGHT == 0).sum())
    frame = results.measurements

    assert right / 150 == results.value()
    assert ["nonfinite_logits"] == frame["flags"][0].to_list()
    assert right == frame.filter(metric="ece")["count"][0]
    assert not np.isnan(frame.filter(metric="ece")["value"][0])


def test_one_answer_for_everything_is_flagged():
    class Stubborn(Bright):
        def forward(self, images):
            return super().forward(images) * 0 + torch.tensor([2.0, 0.0])

    assert ["constant_prediction"] == (
        holdfast.measure(Stubborn(), (UNIT, BRIGHT)).measurements["flags"][0].to_list()
    )


def test_a_module_in_train_mode_is_measured_in_eval_mode_and_flagged():
    net = torch.nn.Sequential(torch.nn.Dropout(0.9), Bright())
    net.train()
    results = holdfast.measure(net, (UNIT, BRIGHT))

    assert 1.0 == results.value()
    assert "train_mode" in results.measurements["flags"][0].to_list()


def test_a_model_that_fails_is_a_row_and_the_others_go_on():
    class Fragile(Bright):
        def forward(self, images):
            if 0.08 < (images[..., 1:] - images[..., :-1]).abs().mean() < 0.2:
                raise RuntimeError("wrong phase of the moon")
            return super().forward(images)

    results = holdfast.measure(Fragile(), (UNIT, BRIGHT), [SOME[0], "contrast(severity=1)"])
    by = dict(results.measurements.select("condition", "status").iter_rows())
    failed = results.measurements.filter(status="failed").row(0, named=True)

    assert {"clean": "ok", SOME[0]: "failed", "contrast(severity=1)": "ok"} == by
    assert "RuntimeError: wrong phase of the moon" == failed["error"]
    assert failed["value"] is None and failed["count"] == 0


def test_memory_that_does_not_hold_a_batch_halves_it():
    class Small(Bright):
        def forward(self, images):
            if len(images) > 20:
                raise torch.OutOfMemoryError("no room")
            return super().forward(images)

    results = holdfast.measure(Small(), (UNIT, BRIGHT))

    assert 1.0 == results.value()
    assert ["batch_halved"] == results.measurements["flags"][0].to_list()


def test_a_store_is_filled_once(tmp_path):
    calls = []

    class Counting(Bright):
        def forward(self, images):
            calls.append(len(images))
            return super().forward(images)

    first = holdfast.measure(Counting(), (UNIT, BRIGHT), SOME[:1], store=tmp_path / "s")
    before = sum(calls)
    again = holdfast.measure(Counting(), (UNIT, BRIGHT), SOME[:1], store=tmp_path / "s")
    probe = sum(calls) - before

    assert first.measurements.equals(again.measurements, null_equal=True)
    assert probe < 10  # the probe's few images, and none of the 150


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: holdfast.measure(Bright(), "digits"), BadValueError, "which split of digits"),
        (lambda: holdfast.measure(Bright(), 3), BadTypeError, "data must be a name"),
        (
            lambda: holdfast.measure(Bright(), "digits", split="test"),
            BadValueError,
            "gives 2 classes, but digits has 10",
        ),
        (
            lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), "fogg"),
            UnknownNameError,
            "did you mean fog",
        ),
        (
            lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), "fog(severity=6)"),
            BadValueError,
            r"fog severity must be 1\.\.5, got 6",
        ),
        (
            lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), "fog(severity=0)"),
            BadValueError,
            r"fog severity must be 1\.\.5, got 0",
        ),
        (
            lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), "gaussian_noise(sigma=-0.1)"),
            BadValueError,
            "sigma",
        ),
        (lambda: holdfast.measure(Bright(), (UNIT * 255, BRIGHT)), BadValueError, "divide by 255"),
        (lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), seed=1.5), BadValueError, "64 bits"),
        (lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), seed=None), BadValueError, "64 bits"),
        (lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), batch_size=0), BadValueError, "from 1"),
        (lambda: holdfast.measure(Bright(), (UNIT, BRIGHT), perturb=[3]), BadTypeError, "a text"),
        (lambda: holdfast.measure(Bright(), (UNIT, BRIGHT + 7)), BadValueError, "label"),
        (
            lambda: holdfast.measure(
                torch.nn.Sequential(Bright(), torch.nn.Softmax(1)), (UNIT, BRIGHT)
            ),
            BadValueError,
            "probabilities",
        ),
    ],
)
def test_bad_input_is_refused_with_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_corruption_can_be_measured():
    names = list(CORRUPTIONS)
    results = holdfast.measure(
        Bright(), (UNIT[:4], BRIGHT[:4]), [f"{name}(severity=3)" for name in names]
    )

    assert len(names) + 1 == results.measurements["condition"].n_unique()
    assert 19 == len(names)
    assert {"ok"} == set(results.measurements["status"])


def test_intervals_and_counts_travel_with_every_number():
    frame = holdfast.measure(Textured(), (UNIT, CLASSES)).measurements
    # Resampling the class-wise error would need N x K probabilities, which are not kept.
    spread = frame.filter(pl.col("metric") != "classwise_ece")

    assert frame["count"].min() > 0
    assert spread.filter(pl.col("low").is_nan() | pl.col("high").is_nan()).is_empty()
    assert spread.filter(pl.col("low") > pl.col("value")).is_empty()
    assert spread.filter(pl.col("high") < pl.col("value")).is_empty()


def test_a_model_that_is_always_wrong_scores_zero_and_not_nothing():
    assert 0.0 == holdfast.measure(Bright(), (UNIT, 1 - BRIGHT)).value()


def test_a_value_that_was_not_measured_is_an_error_and_not_nan():
    results = holdfast.measure(Bright(), (UNIT[:8], BRIGHT[:8]), "fog(severity=3)")

    with pytest.raises(UnknownNameError, match=r"no measured condition named 'fog'; did you mean"):
        results.value("accuracy", "fog")
    with pytest.raises(UnknownNameError, match="no metric of one condition named 'acc'"):
        results.value("acc")


RADII = holdfast.measure(
    Bright(),
    (UNIT[:8], BRIGHT[:8]),
    "pgd(eps=[1/255, 100/255], steps=2), fgsm(eps=1/10)",
)


@pytest.mark.parametrize(
    "text",
    [
        "pgd(eps=100/255, steps=2)",
        "pgd(steps=2, norm=Linf, eps=100/255)",
        "pgd(eps=100/255, after=[1/255], steps=2)",
    ],
)
def test_a_value_is_found_by_the_text_that_was_typed(text):
    (full,) = [name for name in RADII.samples if "after=" in name]

    assert RADII.value("accuracy", full) == RADII.value("accuracy", text)
    assert RADII.value("accuracy", text) < RADII.value("accuracy", "pgd(eps=1/255, steps=2)")


def test_a_radius_that_was_not_measured_is_told_with_short_texts():
    with pytest.raises(UnknownNameError, match=r"or fgsm\(eps=0.1\)|fgsm\(eps=0.1\) or"):
        RADII.value("accuracy", "fgsm(eps=3/255)")


def test_a_text_of_several_conditions_has_no_one_value():
    with pytest.raises(BadValueError, match="stands for 2 measured conditions: ask for one"):
        RADII.value("accuracy", "pgd(eps=[1/255, 100/255], steps=2)")


def test_devices_may_be_a_list():
    whole = (UNIT[:8], BRIGHT[:8])

    assert holdfast.measure(Bright(), whole, device=["cpu", "cpu"]).value() == 1.0


@pytest.mark.parametrize("width", ["a", True, 0.7])
def test_a_wrong_half_width_is_told_as_it_is_typed(width):
    with pytest.raises(HoldfastError, match="until_halfwidth"):
        holdfast.measure(Bright(), (UNIT[:8], BRIGHT[:8]), until_halfwidth=width)


def test_the_value_of_a_failed_run_says_why():
    class Fails(Bright):
        def forward(self, images):
            if len(images) > 2:
                raise RuntimeError("wrong phase")
            return super().forward(images)

    with pytest.raises(BadValueError, match="measuring clean failed: RuntimeError: wrong phase"):
        holdfast.measure(Fails(), (UNIT, BRIGHT)).value()


def test_a_module_is_given_back_in_the_mode_it_came_in():
    net = torch.nn.Sequential(torch.nn.Dropout(0.5), Bright())
    net.train()
    net[1].eval()
    holdfast.measure(net, (UNIT[:4], BRIGHT[:4]))

    assert (True, True, False) == (net.training, net[0].training, net[1].training)


def test_channels_last_floats_are_refused_before_anything_is_measured():
    with pytest.raises(BadValueError, match="put the channels first"):
        holdfast.measure(Bright(), (UNIT.permute(0, 2, 3, 1).numpy(), BRIGHT))
