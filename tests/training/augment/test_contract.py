"""Laws that every registered augmentation keeps; a new one is tested by being registered."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from helpers import pictures
from holdfast.training.augment import (
    AUGMENTATIONS,
    BatchAugmentation,
    SampleAugmentation,
    SourceAugmentation,
    parse_augmentation,
)
from holdfast.training.augment.pipeline import Epoch, Pipeline
from holdfast.training.batch import TrainingBatch

NAMES = tuple(AUGMENTATIONS)
EVERY = pytest.mark.parametrize("name", NAMES)
SHAPES = ((8, 8), (9, 13), (32, 32))
NOW = Epoch(seed=5, epoch=2)


def of_kind(kind):
    chosen = [name for name in NAMES if issubclass(AUGMENTATIONS[name], kind)]
    assert len(chosen) > 0
    return pytest.mark.parametrize("name", chosen)


def stack(count, height, width):
    images = torch.from_numpy(pictures(count, max(height, width)))[:, :height, :width]
    return images.permute(0, 3, 1, 2).contiguous()


def batch_of(count, height, width):
    images = stack(count, height, width).float() / 255
    return TrainingBatch.of(images, torch.arange(count) % 3, torch.arange(count) * 7 + 2, classes=3)


def surely(name):
    """The text of the augmentation that leaves no picture out."""
    takes_p = "p" in [field.name for field in fields(AUGMENTATIONS[name])]
    return f"{name}(p=1)" if takes_p else name


@pytest.fixture(autouse=True)
def _generator_is_put_back():
    with torch.random.fork_rng(devices=[]):
        yield


@EVERY
def test_the_text_of_a_part_means_the_part(name):
    part = parse_augmentation(name)

    assert part == parse_augmentation(part.spec)
    assert part.spec == parse_augmentation(part.spec).spec
    assert part.__doc__


@EVERY
def test_a_parameter_that_is_not_there_is_refused_by_name(name):
    with pytest.raises((KeyError, ValueError), match="nonsense"):
        parse_augmentation(f"{name}(nonsense=1)")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@of_kind(SampleAugmentation)
def test_a_picture_stays_one(name, shape):
    part = parse_augmentation(surely(name))
    for image in (*stack(4, *shape), torch.zeros(3, *shape), torch.full((3, *shape), 255)):
        picture = image.to(torch.uint8)
        before = picture.clone()
        changed = part.change(picture)

        assert (picture.shape, torch.uint8) == (changed.shape, changed.dtype)
        assert torch.equal(before, picture)


@pytest.mark.parametrize("shape", [(8, 8), (9, 13)], ids=str)
@of_kind(SourceAugmentation)
def test_a_stored_picture_is_cut_to_size(name, shape):
    part = parse_augmentation(name)
    for height, width in ((20, 31), (31, 20), (8, 8), (5, 40)):
        image = pictures(1, 40)[0, :height, :width]
        cut = part.cut(image, shape)

        assert ((*shape, 3), np.uint8) == (cut.shape, cut.dtype)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("shape", [(8, 8), (32, 32)], ids=str)
@of_kind(BatchAugmentation)
def test_a_batch_stays_one(name, shape, count):
    batch, same = batch_of(count, *shape), batch_of(count, *shape)
    mixed = Pipeline([surely(name)]).mix(batch, batch.ids[:1], NOW)

    assert (batch.images.shape, torch.float32) == (mixed.images.shape, mixed.images.dtype)
    assert 0 <= mixed.images.min() <= mixed.images.max() <= 1
    assert torch.allclose(torch.ones(count), mixed.targets.sum(1))
    assert torch.equal(batch.ids, mixed.ids)
    assert torch.equal(same.images, batch.images) and torch.equal(same.targets, batch.targets)


@of_kind(SampleAugmentation)
def test_what_a_picture_becomes_depends_on_nothing_beside_it(name):
    pipeline, images, ids = Pipeline([name]), stack(6, 9, 9), torch.arange(6) + 40
    whole = pipeline.change(images, ids, NOW)
    torch.manual_seed(1)
    backwards = pipeline.change(images.flip(0), ids.flip(0), NOW).flip(0)
    alone = torch.cat([pipeline.change(images[i : i + 1], ids[i : i + 1], NOW) for i in range(6)])

    assert torch.equal(whole, backwards)
    assert torch.equal(whole, alone)


@of_kind((SampleAugmentation, SourceAugmentation))
def test_pictures_epochs_and_seeds_are_drawn_apart(name):
    images = np.repeat(pictures(1, 16), 24, axis=0)
    pipeline, ids = Pipeline([name]), torch.arange(24)

    def changed(moment):
        if pipeline.needs_source:
            return pipeline.cut(list(images), ids, (16, 16), moment)
        return pipeline.change(torch.from_numpy(images).permute(0, 3, 1, 2), ids, moment)

    first = changed(NOW)

    assert len(torch.unique(first, dim=0)) > 1
    assert torch.equal(first, changed(NOW))
    assert not torch.equal(first, changed(Epoch(seed=5, epoch=3)))
    assert not torch.equal(first, changed(Epoch(seed=6, epoch=2)))


@of_kind(BatchAugmentation)
def test_a_batch_depends_on_its_keys_alone(name):
    pipeline, batch = Pipeline([name]), batch_of(12, 8, 8)

    def mixed(moment):
        torch.manual_seed(int(torch.randint(1000, ())))
        return pipeline.mix(batch, batch.ids[:1], moment).images

    first = mixed(NOW)

    assert torch.equal(first, mixed(NOW))
    assert not torch.equal(batch.images, first)
    # A corruption that draws nothing is the same whenever all get it.
    if surely(name) != "corruption(p=1)":
        assert not torch.equal(first, mixed(Epoch(seed=5, epoch=3)))
        assert not torch.equal(first, mixed(Epoch(seed=6, epoch=2)))
