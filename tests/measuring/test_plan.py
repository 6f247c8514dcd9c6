"""What decides a number decides the run's id, and nothing stored is taken for another."""

import threading

import pytest
import torch

import holdfast
from helpers import MODEL_FILE, Bright, write_npz
from holdfast.data import open_dataset
from holdfast.measuring import (
    DatasetStream,
    Options,
    Subject,
    TensorStream,
    View,
    measure_runs,
    plan,
)
from holdfast.measuring import stream as stream_module
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import RunBuilder, Store

IMAGES = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 2


def stream(images=IMAGES, labels=LABELS, split="given"):
    return TensorStream(images, labels, name="arrays", split=split)


def planned(net=None, data=None, **options):
    classifier = holdfast.load_model(net or Bright())
    subject = Subject("m", classifier, data or stream())
    return plan(subject, parse_conditions(()), Options(**options))[0].id


class Dim(Bright):
    """Other weights of the same code."""

    def __init__(self):
        super().__init__()
        self.gain.data.fill_(39.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"net": Dim()},
        {"data": stream(images=IMAGES.flip(0))},
        {"data": stream(labels=1 - LABELS)},
        {"data": stream(split="other")},
        {"seed": 1},
        {"view": View("48")},
    ],
)
def test_whatever_decides_a_number_plans_another_run(changed):
    assert planned() == planned()
    assert planned() != planned(**changed)


def test_the_weights_are_part_of_the_spec():
    one, other = (
        plan(Subject("m", holdfast.load_model(net), stream()), parse_conditions(()), Options())[0]
        for net in (Bright(), Dim())
    )

    assert holdfast.load_model(Bright()).digest == one.spec.weights_digest
    assert one.spec.weights_digest != other.spec.weights_digest


def test_editing_the_file_of_a_model_plans_another_run(tmp_path):
    (tmp_path / "net.py").write_text(MODEL_FILE)
    first = planned(f"{tmp_path}/net.py:bright")
    (tmp_path / "net.py").write_text(MODEL_FILE + "\n# another\n")

    assert first != planned(f"{tmp_path}/net.py:bright")


def test_how_many_images_were_chosen_plans_another_run(tmp_path):
    data = open_dataset(f"npz:{write_npz(tmp_path / 'a.npz')}", split="test")
    runs = [
        planned(data=DatasetStream(data, lambda i: i, ids)) for ids in (None, [1, 2], [1, 2, 3])
    ]

    assert 3 == len(set(runs))


def test_batch_size_and_study_plan_the_same_run():
    assert planned() == planned(batch_size=3, study="x")


def test_parts_are_numbered_by_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "PART", 4)
    flushed, flush = [], RunBuilder.flush
    monkeypatch.setattr(
        RunBuilder,
        "flush",
        lambda self, part, body: flushed.append(part) or flush(self, part, body),
    )
    holdfast.measure(Bright(), (IMAGES, LABELS), store=tmp_path)

    assert [0, 1] == flushed


def test_a_resumed_run_measures_only_the_parts_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "PART", 4)
    seen, fail = [], [True]

    class Stopping(Bright):
        def forward(self, images):
            if len(images) == 4:  # not the probe
                seen.append(images[0, 0, 0, 0].item())
                if fail[0] and len(seen) == 2:
                    raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        holdfast.measure(Stopping(), (IMAGES, LABELS), store=tmp_path)
    fail[0] = False
    steps = []
    results = holdfast.measure(
        Stopping(),
        (IMAGES, LABELS),
        store=tmp_path,
        progress=lambda p: steps.append((p.done, p.total)),
    )

    first, second = IMAGES[0, 0, 0, 0].item(), IMAGES[4, 0, 0, 0].item()
    assert [first, second, second] == seen
    assert [(8, 8)] == steps
    assert list(range(8)) == results.samples["clean"]["id"].to_list()


def test_a_run_that_another_holds_is_left_for_last_and_waited_for(tmp_path):
    subject = Subject("m", holdfast.load_model(Bright()), stream())
    runs = plan(subject, parse_conditions("contrast(severity=1)"), Options())
    store, held, order = Store(tmp_path), threading.Event(), []

    def hold():
        with store.building(runs[0].id):
            held.set()
            release.wait(10)

    release, thread = threading.Event(), threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    threading.Timer(0.5, release.set).start()
    order += [frame["condition"][0] for frame in measure_runs(subject, runs, store, Options())]
    thread.join()

    assert ["contrast(severity=1)", "clean"] == order
    assert store.finished(runs[0].id)


def test_a_condition_of_two_groups_is_planned_and_told_once(tmp_path):
    specs = ["pgd(eps=[0.002, 0.004], steps=2)", "pgd(eps=0.002, steps=2)"]
    specs.append("pgd(eps=[0.002, 0.02], steps=2)")
    results = holdfast.measure(Bright(), (IMAGES, LABELS), specs, store=tmp_path)
    told = results.measurements.filter(metric="accuracy")

    assert [None, 0.002, 0.004, 0.02] == told["eps"].to_list()
    assert told["run_id"].is_unique().all()
