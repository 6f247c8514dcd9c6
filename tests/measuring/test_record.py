"""What a row says of its run, and what the loop does when a model or the machine fails."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import holdfast
from helpers import Bright, Textured
from holdfast.core.errors import BadValueError
from holdfast.measuring import Options, Subject, TensorStream, measure_runs, plan
from holdfast.measuring.loop import _batch_size
from holdfast.measuring.scores import PartScores, RunScores
from holdfast.perturb.base import Batch, forward_once
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import Store

IMAGES = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 2


def test_a_row_names_its_run(tmp_path):
    stream = TensorStream(IMAGES, LABELS, name="arrays", split="held-out")
    subject = Subject("m", holdfast.load_model(Bright()), stream)
    options = Options(seed=7, study="first light")
    runs = plan(subject, parse_conditions(()), options)
    row = next(measure_runs(subject, runs, Store(tmp_path), options)).row(0, named=True)

    assert ("m", "arrays", "held-out", 7, "first light", "cpu", "float32", "model") == tuple(
        row[name] for name in ("model", "data", "split", "seed", "study", "device", "dtype", "view")
    )
    assert (runs[0].id, stream.digest(), 24, 0) == (
        row["run_id"], row["data_digest"], row["forward_evals"], row["gradient_evals"]
    )  # fmt: skip


def test_only_noise_has_a_sigma():
    rows = holdfast.measure(
        Bright(), (IMAGES, LABELS), ["gaussian_noise(sigma=0.1)", "gaussian_blur(sigma=0.5)"]
    ).measurements.filter(metric="accuracy")

    assert [("clean", None), ("noise", 0.1), ("corruption", None)] == list(
        rows.select("family", "sigma").iter_rows()
    )


def test_few_images_with_one_answer_are_not_flagged():
    class Stubborn(Bright):
        def forward(self, images):
            return super().forward(images) * 0 + torch.tensor([2.0, 0.0])

    results = holdfast.measure(Stubborn(), (IMAGES[:19], LABELS[:19]))

    assert [] == results.measurements["flags"][0].to_list()


def test_a_set_of_broken_images_is_flagged_and_has_no_accuracy(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"not a picture")
    data = holdfast.load_data(f"folder:{tmp_path}", split="test")
    results = holdfast.measure(Bright(), data)
    row = results.measurements.row(0, named=True)

    assert (["broken_images", "no_images"], 0, 2) == (row["flags"], row["count"], row["broken"])
    assert np.isnan(results.value())
    assert ["a/1.png", "b/2.png"] == sorted(results.broken["name"])


def test_an_image_that_does_not_fit_in_memory_fails_the_run():
    calls = []

    class Vast(Bright):
        def forward(self, images):
            if len(images) <= 2 and not calls:
                return super().forward(images)  # the probe
            calls.append(len(images))
            assert len(calls) < 50
            raise torch.OutOfMemoryError("no room")

    net = Vast()
    model = holdfast.load_model(net).probe()
    calls.append(0)
    row = holdfast.measure(model, (IMAGES, LABELS)).measurements.row(0, named=True)

    assert [24, 12, 6, 3, 2, 1] == calls[1:]
    assert ("failed", "OutOfMemoryError: no room") == (row["status"], row["error"])


def test_a_refused_output_is_a_row_with_its_message():
    class Flat(Bright):
        def forward(self, images):
            logits = super().forward(images)
            return logits if len(images) == 2 else logits[:, 0]  # 2: the probe

    row = holdfast.measure(Flat(), (IMAGES, LABELS)).measurements.row(0, named=True)

    assert "failed" == row["status"]
    assert "expected float logits [B, K]" in row["error"]


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS - 1])
def test_a_label_one_beyond_the_classes_is_refused(labels):
    with pytest.raises(BadValueError, match=r"labels must be 0\.\.1"):
        holdfast.measure(Bright(), (IMAGES, labels))


@pytest.mark.parametrize(("size", "batch"), [(None, 256), ((64, 64), 256), ((224, 224), 16)])
def test_large_images_go_in_smaller_batches(size, batch):
    class Model:
        input_size, device = size, torch.device("cpu")

    assert batch == _batch_size(Model())


def test_a_run_finished_while_we_took_its_lock_is_not_measured_again(tmp_path, monkeypatch):
    calls = []

    class Counting(Bright):
        def forward(self, images):
            calls.append(len(images))
            return super().forward(images)

    stream = TensorStream(IMAGES, LABELS, name="arrays", split="given")
    subject = Subject("m", holdfast.load_model(Counting()), stream)
    runs = plan(subject, parse_conditions(()), Options())
    building = Store.building

    @contextmanager
    def late(self, run, *, wait=False):
        monkeypatch.setattr(Store, "building", building)
        list(measure_runs(subject, runs, Store(tmp_path), Options()))
        with self.building(run, wait=wait) as builder:
            yield builder

    monkeypatch.setattr(Store, "building", late)
    list(measure_runs(subject, runs, Store(tmp_path), Options()))

    assert 1 == calls.count(24)


def test_parts_merge_to_what_one_part_gives():
    def part(start, stop):
        scores = PartScores(2)
        batch = Batch(IMAGES[start:stop], LABELS[start:stop], torch.arange(start, stop))
        scores.add(forward_once(batch, batch.images, Bright()))
        return scores.arrays([], seconds=1.5)

    whole, halves = RunScores([part(0, 24)]), RunScores([part(12, 24), part(0, 12)])

    assert whole.samples.equals(halves.samples)
    assert (1.5, 3.0) == (whole.seconds, halves.seconds)
    assert all(
        np.array_equal(value, halves.classwise.to_arrays()[name])
        for name, value in whole.classwise.to_arrays().items()
    )


def test_the_precision_of_the_weights_is_in_the_record():
    model = Textured().bfloat16()
    row = holdfast.measure(model, (IMAGES[:4], torch.arange(4))).measurements

    assert {"bfloat16"} == set(row["dtype"])
