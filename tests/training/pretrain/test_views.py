"""Views: lightly as judge, what seeds them, and what is left alone."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from lightly.transforms import (
    BYOLView1Transform,
    BYOLView2Transform,
    DINOViewTransform,
    GaussianBlur,
    SimCLRViewTransform,
    VICRegViewTransform,
)
from torchvision.transforms.v2 import functional as pictures

from holdfast.core.errors import BadTypeError, BadValueError, MissingError
from holdfast.training.objectives import parse_objective
from training.pretrain.toys import SMALL, Projecting

NAMES = sorted(SMALL)
DINO_CROP = {"crop_size": (8, 8), "crop_scale": (0.3, 1.0), "cj_strength": 0.7}
COMMON = {"input_size": (8, 8), "min_scale": 0.3, "cj_strength": 0.7}
JUDGES = {
    "barlow_twins": (
        BYOLView1Transform(gaussian_blur=0.5, normalize=None, **COMMON),
        BYOLView2Transform(gaussian_blur=0.05, normalize=None, **COMMON),
    ),
    "simclr": (SimCLRViewTransform(gaussian_blur=0.25, normalize=None, **COMMON),) * 2,
    "vicreg": (VICRegViewTransform(gaussian_blur=0.25, normalize=None, **COMMON),) * 2,
    "dino": (
        DINOViewTransform(gaussian_blur=0.5, solarization_prob=0, normalize=None, **DINO_CROP),
        DINOViewTransform(gaussian_blur=0.05, solarization_prob=0.2, normalize=None, **DINO_CROP),
    ),
}


def blurs(transforms):
    """Probabilities of the blur, which a few draws would not tell apart."""
    steps = [step for one in transforms for step in one.transform.transforms]
    return [step.prob for step in steps if isinstance(step, GaussianBlur)]


def picture(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape or (3, 8, 8), dtype=torch.uint8, generator=generator)


def seeded(method, image, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.make_views(image)


@pytest.mark.parametrize("name", NAMES)
def test_views_are_lightlys(name):
    method = parse_objective(name, {"smallest_crop": 0.3, "jitter": 0.7, "blur": 0.5})
    assert blurs(method.view_transforms((8, 8))) == blurs(JUDGES[name])
    image = picture()
    numpys = np.random.get_state()
    try:
        for seed in range(20):
            views = seeded(method, image, seed)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                np.random.seed(int(torch.randint(2**32, ())))
                judged = [transform(pictures.to_pil_image(image)) for transform in JUDGES[name]]
            torch.testing.assert_close(views / 255, torch.stack(judged), rtol=0, atol=1e-6)
    finally:
        np.random.set_state(numpys)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (3, 6, 10)])
def test_views_have_the_pictures_size(name, shape):
    method = parse_objective(name)
    views = seeded(method, picture(*shape), 0)
    assert views.shape == (method.views, *shape)
    assert views.dtype == torch.uint8


@pytest.mark.parametrize("name", NAMES)
def test_views_depend_on_torchs_generator_alone(name):
    method, image = parse_objective(name), picture(3, 16, 16)
    first = seeded(method, image, 1)
    np.random.random(), random.random()
    assert torch.equal(seeded(method, image, 1), first)
    assert not torch.equal(seeded(method, image, 2), first)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_other_generators_are_left_alone(name):
    numpys, pythons = np.random.get_state(), random.getstate()
    seeded(parse_objective(name), picture(), 3)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(numpys, after, strict=True))
    assert random.getstate() == pythons


def test_views_of_the_whole_picture_without_jitter_are_flipped_or_gray_at_most():
    method = parse_objective("simclr(smallest_crop=1.0, jitter=0.0, blur=0.0)")
    image = picture()
    gray = pictures.rgb_to_grayscale(pictures.to_pil_image(image), num_output_channels=3)
    allowed = [
        image,
        image.flip(2),
        pictures.pil_to_tensor(gray),
        pictures.pil_to_tensor(gray).flip(2),
    ]
    came = set()
    for seed in range(30):
        for view in seeded(method, image, seed):
            came.add(next(i for i, one in enumerate(allowed) if torch.equal(one, view)))
    assert came == {0, 1, 2, 3}


def test_a_picture_of_floats_is_refused():
    with pytest.raises(BadTypeError, match="8-bit"):
        parse_objective("simclr").make_views(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8), (1, 3, 8, 8)])
def test_a_picture_of_another_shape_is_refused(shape):
    with pytest.raises(BadValueError, match="1 or 3 channels"):
        parse_objective("simclr").make_views(picture(*shape))


def test_without_lightly_a_person_is_told_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "lightly"]:
        monkeypatch.setitem(sys.modules, name, None)
    method = parse_objective("simclr(smallest_crop=0.123)")  # that has built no views so far
    with pytest.raises(MissingError, match=r"pip install holdfast\[pretrain\]"):
        method.make_views(picture())
    with pytest.raises(MissingError, match=r"pip install holdfast\[pretrain\]"):
        Projecting(method)
