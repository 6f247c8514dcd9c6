from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import pictures
from holdfast.core.errors import BadTypeError, BadValueError, ChangedInputError
from holdfast.data import Broken, OpenClasses, Sample, open_dataset
from holdfast.models.preprocessing import Preprocessing
from holdfast.search.making.training import _order
from holdfast.training.augment.pipeline import Pipeline
from holdfast.training.batches import TrainingData
from holdfast.training.holding import holdout

COUNT = 21
SQUARE = pictures(COUNT, 8)
TALL = [np.ascontiguousarray(image[:, : 9 + row % 4]) for row, image in enumerate(pictures(9, 16))]
FITTED = Preprocessing(input_size=(8, 8))
ALL_KINDS = "crop(padding=2), flip, color_jitter, random_noise, mixup, corruptions, cutmix"


class Shelf:
    """Pictures at hand; those whose positions are `spoiled` cannot be read."""

    name, split = "shelf", "train"

    def __init__(self, images, classes=("a", "b", "c"), spoiled=()):
        self.images, self.classes, self.spoiled = images, classes, set(spoiled)
        self.reads = []

    def __len__(self):
        return len(self.images)

    def fingerprint(self):
        return "0" * 64

    def read(self, ids=None):
        places = range(len(self)) if ids is None else list(ids)
        assert list(places) == sorted(set(places))
        for place in places:
            self.reads.append(place)
            if place in self.spoiled:
                yield Broken(place, f"{place}.png", "truncated")
            else:
                yield Sample(place, f"{place}.png", self.images[place], place % 3)


def data(specs="", images=SQUARE, *, ids=None, preprocessing=None, spoiled=(), **options):
    options = {"seed": 7, **options}
    shelf = Shelf(images, spoiled=spoiled)
    return TrainingData(shelf, ids, Pipeline(specs), preprocessing or Preprocessing(), **options)


def joined(batches):
    batches = list(batches)
    return tuple(
        torch.cat([getattr(batch, what) for batch in batches])
        for what in ("images", "targets", "ids")
    )


def same(first, second):
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        torch.equal(getattr(one, what), getattr(two, what))
        for one, two in zip(first, second, strict=True)
        for what in ("images", "targets", "ids")
    )


@pytest.mark.parametrize("epoch", [1, 2, 9])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_order_is_that_of_the_networks_of_the_table(seed, epoch):
    found = data(seed=seed).order(epoch)

    assert torch.equal(_order(COUNT, seed, epoch), found)
    assert list(range(COUNT)) == sorted(found.tolist())


def test_a_batch_holds_the_images_that_the_order_says():
    plain = data()
    order = plain.order(3)
    batches = list(plain.batches(3, batch_size=6))

    assert [6, 6, 6, 3] == [len(batch) for batch in batches]
    images, targets, ids = joined(batches)
    assert torch.equal(order, ids)
    assert torch.equal(torch.from_numpy(SQUARE)[order].permute(0, 3, 1, 2) / 255, images)
    assert torch.equal(order % 3, targets.argmax(1)) and torch.equal(targets.sum(1), ones())
    assert (torch.float32, torch.int64) == (images.dtype, ids.dtype)


def ones():
    return torch.ones(COUNT)


def test_ids_are_positions_in_the_data_set():
    chosen = [1, 2, 3, 8, 13]
    part = data(ids=chosen)
    _, _, ids = joined(part.batches(1, batch_size=2))

    assert chosen == sorted(ids.tolist()) == part.samples.tolist()
    assert [place % 3 for place in chosen] == part.labels.tolist()


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(5, [5, 5, 5, 6]), (4, [4, 4, 4, 4, 5]), (20, [21]), (21, [21]), (50, [21]), (1, [1] * 21)],
)
def test_a_single_image_that_is_left_over_joins_the_batch_before_it(batch_size, sizes):
    found = data()

    assert sizes == [len(batch) for batch in found.batches(1, batch_size=batch_size)]
    assert len(sizes) == found.steps(batch_size)


@pytest.mark.parametrize("specs", ["crop(padding=2), flip", "color_jitter, random_noise"])
def test_a_picture_is_the_same_in_batches_of_any_size(specs):
    found = data(specs)
    whole = joined(found.batches(2, batch_size=21))
    for batch_size in (1, 4, 10):
        again = joined(found.batches(2, batch_size=batch_size))

        assert all(torch.equal(one, two) for one, two in zip(whole, again, strict=True))


def test_a_picture_is_the_same_whichever_others_are_taken():
    images, _, ids = joined(data("crop(padding=2), flip").batches(2, batch_size=4))
    some, _, chosen = joined(
        data("crop(padding=2), flip", ids=[1, 3, 5, 8, 18]).batches(2, batch_size=4)
    )
    whole = dict(zip(ids.tolist(), images, strict=True))

    assert all(
        torch.equal(whole[place], image) for place, image in zip(chosen.tolist(), some, strict=True)
    )


def test_epochs_and_seeds_give_other_batches():
    first = list(data(ALL_KINDS).batches(1, batch_size=6))

    assert same(first, data(ALL_KINDS).batches(1, batch_size=6))
    assert not same(first, data(ALL_KINDS).batches(2, batch_size=6))
    assert not same(first, data(ALL_KINDS, seed=8).batches(1, batch_size=6))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_a_resumed_epoch_gives_the_batches_that_were_left(start):
    found = data(ALL_KINDS)

    assert same(
        list(found.batches(2, batch_size=6))[start:],
        found.batches(2, batch_size=6, start=start),
    )


def test_batches_that_are_skipped_are_not_decoded():
    found = data(memory=0)
    found.dataset.reads.clear()
    list(found.batches(1, batch_size=6, start=2))

    assert sorted(found.order(1)[12:].tolist()) == sorted(found.dataset.reads)


@pytest.mark.parametrize("specs", ["flip", "mixup", ALL_KINDS, "mixup, mixup, cutmix"])
@pytest.mark.parametrize("world", [2, 3, 5])
def test_parts_put_together_are_the_batch_of_one_process(specs, world):
    found = data(specs)
    parts = [
        list(found.batches(2, batch_size=8, rank=rank, world=world, start=1))
        for rank in range(world)
    ]
    whole = list(found.batches(2, batch_size=8, start=1))

    assert world * [len(whole)] == [len(part) for part in parts]
    for step, batch in enumerate(whole):
        images, targets, ids = joined(part[step] for part in parts)
        assert torch.equal(batch.ids, ids)
        assert torch.equal(batch.images, images) and torch.equal(batch.targets, targets)


def test_parts_are_even_and_may_be_empty():
    sizes = [
        [len(batch) for batch in data("mixup").batches(1, batch_size=18, rank=rank, world=4)]
        for rank in range(4)
    ]

    assert [[5, 1], [5, 1], [4, 1], [4, 0]] == sizes


@pytest.mark.parametrize("specs", ["", ALL_KINDS, "random_resized_crop, flip, mixup"])
def test_images_in_memory_and_images_decoded_anew_are_the_same(specs):
    kept = data(specs, TALL, preprocessing=FITTED)
    anew = data(specs, TALL, preprocessing=FITTED, memory=100)

    assert (True, False) == (kept.in_memory, anew.in_memory)
    assert same(kept.batches(2, batch_size=4), anew.batches(2, batch_size=4))
    assert torch.equal(kept.plain(range(9))[0], anew.plain(range(9))[0])


@pytest.mark.parametrize(
    ("specs", "enough"), [("", 9 * 3 * 64), ("random_resized_crop", sum(x.nbytes for x in TALL))]
)
def test_memory_is_counted_in_bytes(specs, enough):
    assert data(specs, TALL, preprocessing=FITTED, memory=enough).in_memory
    assert not data(specs, TALL, preprocessing=FITTED, memory=enough - 1).in_memory


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_other_processes_give_the_same_batches(memory):
    specs = "random_resized_crop, color_jitter, flip, random_noise, mixup"
    alone = data(specs, TALL, preprocessing=FITTED, memory=memory)
    helped = data(specs, TALL, preprocessing=FITTED, memory=memory, workers=2)
    state = torch.get_rng_state()

    assert same(alone.batches(2, batch_size=2), helped.batches(2, batch_size=2))
    assert torch.equal(state, torch.get_rng_state())
    assert 1 == len(list(helped.batches(2, batch_size=2, start=3)))
    assert [] == list(helped.batches(2, batch_size=2, start=4))


def test_other_processes_can_be_left_in_the_middle():
    stream = data(memory=0, workers=2).batches(1, batch_size=2)
    assert 2 == len(next(stream))
    stream.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_is_named(workers):
    found = data(memory=0, workers=workers)
    found.dataset.spoiled.add(4)
    with pytest.raises(ChangedInputError, match=r"^4\.png could be read .* truncated; put it back"):
        list(found.batches(1, batch_size=4))


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    for _ in data(ALL_KINDS).batches(1, batch_size=5):
        assert torch.equal(state, torch.get_rng_state())


def test_what_the_caller_draws_changes_no_batch():
    found = data(ALL_KINDS)
    drawing = []
    with torch.random.fork_rng(devices=[]):
        for batch in found.batches(1, batch_size=5):
            drawing.append(batch)
            torch.rand(3)

    assert same(drawing, found.batches(1, batch_size=5))


def test_broken_images_are_left_out_and_named():
    found = data(spoiled=[0, 20])

    assert (["0.png", "20.png"], COUNT - 2) == ([one.name for one in found.broken], len(found))
    _, _, ids = joined(found.batches(1, batch_size=4))
    assert list(range(1, 20)) == sorted(ids.tolist())


def test_a_folder_with_a_broken_file_trains_on_the_others(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for row, image in enumerate(pictures(3, 12)):
            Image.fromarray(image).save(tmp_path / name / f"{row}.png")
    (tmp_path / "dog" / "1.png").write_bytes(b"no picture")
    folder = open_dataset(f"folder:{tmp_path}", split="train")
    found = TrainingData(folder, None, Pipeline("flip"), FITTED, seed=0, memory=0)

    assert (5, ["dog/1.png"]) == (len(found), [one.name for one in found.broken])
    assert (5, 3, 8, 8) == next(found.batches(1, batch_size=8)).images.shape


@pytest.mark.parametrize("spoiled", [range(COUNT), range(1, COUNT)])
def test_too_few_images_are_refused(spoiled):
    with pytest.raises(BadValueError, match=r"at least 2 images.*truncated"):
        data(spoiled=spoiled)


def test_no_images_are_refused():
    with pytest.raises(BadValueError, match="at least 2 images, and shelf has 0"):
        data(ids=[])


def test_a_class_without_an_image_is_named():
    with pytest.raises(BadValueError, match="no training image of the class 'b'; "):
        data(ids=[0, 2, 3, 5])
    with pytest.raises(BadValueError, match=r"'b', 'c', 'd' and 7 more; "):
        TrainingData(
            Shelf(SQUARE, tuple("abcdefghijk")), [0, 3], Pipeline(), Preprocessing(), seed=0
        )


def test_open_classes_may_be_empty():
    shelf = Shelf(SQUARE, OpenClasses(("a", "b", "c", "d")))
    found = TrainingData(shelf, None, Pipeline(), Preprocessing(), seed=0)

    assert (COUNT, 4) == joined(found.batches(1, batch_size=4))[1].shape


def test_images_of_several_shapes_need_a_size():
    with pytest.raises(BadValueError, match=r"16x9 and of 16x10 .* give data\.size"):
        data(images=TALL)


def test_a_network_that_takes_any_size_gets_the_images_as_they_are():
    assert (8, 8) == data().size
    cut = next(data("random_resized_crop").batches(1, batch_size=4)).images

    assert (4, 3, 8, 8) == cut.shape


def test_plain_images_are_those_of_the_evaluation():
    found = data(ALL_KINDS, TALL, preprocessing=FITTED)
    images, labels = found.plain(torch.tensor([4, 1]))
    expected = [FITTED.prepare(TALL[row]) for row in (4, 1)]

    assert torch.equal(torch.tensor(np.stack(expected)).permute(0, 3, 1, 2) / 255, images)
    assert [1, 1] == labels.tolist()
    assert (0, 3, 8, 8) == found.plain([])[0].shape
    images += 1
    assert found.plain([4])[0].max() <= 1


def test_gray_networks_get_three_channels():
    gray = data(preprocessing=Preprocessing(input_size=(8, 8), channels=1))

    assert (4, 3, 8, 8) == next(gray.batches(1, batch_size=4)).images.shape


def test_mixed_targets_are_soft():
    targets = joined(data("mixup(alpha=1)").batches(1, batch_size=7))[1]

    assert torch.allclose(ones(), targets.sum(1))
    assert ((targets > 0) & (targets < 1)).any()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epoch": 0}, "epoch must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"start": 5}, "start must be in 0..4"),
        ({"start": -1}, "start must be in 0..4"),
        ({"rank": 2, "world": 2}, "rank must be in 0..1"),
        ({"world": 0}, "world must be at least 1"),
    ],
)
def test_wrong_values_are_refused_at_once(wrong, words):
    with pytest.raises(BadValueError, match=words):
        data().batches(**{"epoch": 1, "batch_size": 6, **wrong})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"workers": -1}, BadValueError),
        ({"memory": -1}, BadValueError),
        ({"workers": 1.5}, BadTypeError),
        ({"seed": 0.5}, BadValueError),
    ],
)
def test_wrong_options_are_refused(wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        data(**wrong)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_each_class_gives_its_share(fraction):
    labels = np.repeat([0, 1, 2], [40, 100, 20])[np.random.default_rng(0).permutation(160)]
    training, validation = holdout(labels, fraction)

    assert list(range(160)) == sorted([*training, *validation])
    assert round(160 * fraction) == len(validation)
    shares = np.bincount(labels[validation]) / np.bincount(labels)
    assert np.allclose(fraction, shares, atol=0.051)
    assert (np.diff(training) > 0).all() and (np.diff(validation) > 0).all()


def test_every_class_keeps_an_image_for_training():
    labels = np.array([0, 1, 1, 2, 2, 2])
    for fraction in (0.5, 0.8, 0.99):
        training, validation = holdout(labels, fraction)

        assert {0, 1, 2} == set(labels[training])
        assert len(validation) > 0


def test_a_seed_chooses_who_is_held_out():
    labels = np.arange(60) % 3
    first, again, other = (holdout(labels, 0.2, seed)[1] for seed in (0, 0, 1))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(BadValueError, match="between 0 and 1"):
        holdout(np.arange(10) % 2, fraction)


@pytest.mark.parametrize(("labels", "fraction"), [([0, 1, 1], 0.1), ([0, 1, 2], 0.9)])
def test_an_empty_validation_set_is_refused(labels, fraction):
    with pytest.raises(BadValueError, match="leaves none for validation"):
        holdout(np.array(labels), fraction)
