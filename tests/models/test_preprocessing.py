"""Preparing pictures: timm's and torchvision's own transforms are the judges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.models import Preprocessing
from holdfast.models.timm_source import preprocessing_of

SHAPES = [(37, 61), (61, 37), (48, 48), (32, 32), (20, 90), (33, 32)]
SHORT = Preprocessing(input_size=(32, 32), scale_size=(36, 36), interpolation="bicubic")


def picture(height, width, seed=0):
    """Smooth color picture with noise: neither flat nor without structure."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([rows * 3 % 200, columns * 5 % 180, (rows + columns) * 2 % 250], 2)
    return np.clip(waves + rng.integers(-30, 30, (height, width, 3)), 0, 255).astype(np.uint8)


def to_tensor(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].double() / 255


def timm_judge(image, **config):
    transform = transforms_imagenet_eval(normalize=False, **config)
    return transform(Image.fromarray(image)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_prepared_pixels_are_those_of_timm(shape, crop_mode, interpolation):
    config = {
        "input_size": (3, 32, 32),
        "crop_pct": 0.875,
        "crop_mode": crop_mode,
        "interpolation": interpolation,
        "mean": (0.48, 0.45, 0.40),
        "std": (0.2, 0.2, 0.2),
    }
    image = picture(*shape)

    kept = {key: config[key] for key in ("crop_pct", "crop_mode", "interpolation", "mean")}

    expected = timm_judge(image, img_size=(32, 32), **kept)

    np.testing.assert_array_equal(preprocessing_of(config).prepare(image), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_crop_percentage_above_one_pads_as_timm_does(shape):
    config = {"crop_pct": 1.15, "crop_mode": "center", "interpolation": "bicubic"}
    expected = timm_judge(picture(*shape), img_size=(32, 32), **config)
    config |= {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}

    np.testing.assert_array_equal(preprocessing_of(config).prepare(picture(*shape)), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_oblong_input_size_is_cut_as_timm_does(shape):
    config = {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    expected = timm_judge(picture(*shape), img_size=(32, 24), **config)
    config |= {"input_size": (3, 32, 24), "mean": (0.5,) * 3, "std": (0.5,) * 3}

    np.testing.assert_array_equal(preprocessing_of(config).prepare(picture(*shape)), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prepared_pixels_are_those_of_torchvision(shape):
    judge = ImageClassification(
        crop_size=32,
        resize_size=33,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        interpolation=InterpolationMode.BILINEAR,
    )
    ours = Preprocessing(input_size=(32, 32), scale_size=(33, 33))

    expected = judge(Image.fromarray(picture(*shape))).mul(255).round().byte()

    actual = torch.from_numpy(ours.prepare(picture(*shape)).copy()).permute(2, 0, 1)
    assert torch.equal(expected, actual)


def test_every_pretrained_timm_configuration_can_be_read():
    configs = (timm.get_pretrained_cfg(name).to_dict() for name in timm.list_pretrained())
    read = [preprocessing_of(resolve_data_config({}, pretrained_cfg=config)) for config in configs]

    assert len(timm.list_pretrained()) == len([p for p in read if p.input_size])


def test_any_size_leaves_a_picture_alone():
    image = picture(40, 30)

    assert image is Preprocessing().prepare(image)


def test_the_crop_fraction_is_timms_crop_percentage():
    assert (
        pytest.approx(0.875)
        == Preprocessing(input_size=(224, 224), scale_size=(256, 256)).crop_fraction
    )


@pytest.mark.parametrize("resize", ["short", "squash", "border"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cutting_tensors_agrees_with_cutting_pictures(resize, shape):
    """PIL rounds to 8 bits after each axis, and its weights to 22 bits: 2 of 255 apart at most."""
    ours = Preprocessing(
        input_size=(32, 32),
        scale_size=(36, 36),
        resize=resize,
        mean=(0.48, 0.45, 0.4),
        std=(0.2,) * 3,
    )

    expected = to_tensor(ours.prepare(picture(*shape)))

    actual = ours.cut(to_tensor(picture(*shape)))
    assert (expected - actual).abs().max() <= 2 / 255


def test_stretching_agrees_with_pil():
    image = picture(50, 50)
    resized = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)

    actual = SHORT.stretch(to_tensor(image))

    assert (to_tensor(np.asarray(resized)) - actual).abs().max() <= 2 / 255


def test_stretching_keeps_the_range():
    checkerboard = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    checkerboard[..., ::2, 1::2] = 1.0
    stretched = SHORT.stretch(checkerboard)

    assert (0.0, 1.0) == (float(stretched.min()), float(stretched.max()))


@pytest.mark.parametrize("method", ["stretch", "cut"])
def test_resizing_is_differentiable(method):
    images = torch.linspace(0.2, 0.8, 2 * 3 * 5 * 7, dtype=torch.float64).view(2, 3, 5, 7)
    ours = Preprocessing(input_size=(4, 4), scale_size=(6, 6), interpolation="bicubic")

    assert torch.autograd.gradcheck(getattr(ours, method), images.requires_grad_(True))


def test_cutting_a_batch_is_cutting_its_rows():
    images = torch.cat([to_tensor(picture(40, 50, seed)) for seed in range(3)])

    rows = torch.cat([SHORT.cut(image[None]) for image in images])
    torch.testing.assert_close(rows, SHORT.cut(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": (123.7, 116.8, 103.9), "std": (58.4, 57.1, 57.4)}, "divide both by 255"),
        ({"mean": (0.5, 0.5, 0.5)}, "need 3 values each"),
        ({"mean": (0.5,) * 3, "std": (0.0,) * 3}, "std must be positive"),
        ({"channels": 4}, "1 or 3 channels, got channels=4"),
        ({"interpolation": "lanczos"}, "bilinear or bicubic, got 'lanczos'"),
        ({"input_size": (0, 32)}, r"input_size must be \(height, width\)"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_a_preprocessing_that_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(BadValueError, match=message):
        Preprocessing(**settings)


def test_a_float_picture_is_refused():
    with pytest.raises(BadTypeError, match=r"uint8 \[H, W, 3\], got float64 \[8, 8, 3\]"):
        SHORT.prepare(np.zeros((8, 8, 3)))


def test_two_preprocessings_that_differ_have_different_texts():
    other = Preprocessing(input_size=(32, 32), scale_size=(37, 37), interpolation="bicubic")

    assert str(other) != str(SHORT)


IMAGENET = Preprocessing(
    input_size=(224, 224),
    scale_size=(256, 256),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bicubic",
    resize="border",
)


def test_another_size_keeps_all_but_the_size():
    wanted = replace(IMAGENET, input_size=(128, 96), scale_size=None, resize="squash")

    assert wanted == IMAGENET.resized_to((128, 96))
    assert wanted != IMAGENET.resized_to((128, 96), "short")
    assert 1.0 == IMAGENET.resized_to(128, "short").crop_fraction


def test_squashing_crops_nothing_and_the_short_side_crops_the_center():
    """A white border one pixel wide stays where all is scaled, and goes where the center is cut."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :2] = image[:, -2:] = 255

    squashed = IMAGENET.resized_to(40).prepare(image)
    cut = IMAGENET.resized_to(40, "short").prepare(image)

    assert (40, 40, 3) == squashed.shape == cut.shape
    assert 200 < squashed[:, [0, -1]].mean()
    assert np.array_equal(image[:, 20:60], cut)


def test_squashed_pixels_are_those_of_torchvision():
    image = np.random.default_rng(0).integers(0, 256, (50, 31, 3)).astype(np.uint8)
    judge = v2.Resize((24, 24))(Image.fromarray(image))  # bilinear

    plain = replace(IMAGENET, interpolation="bilinear")
    assert np.array_equal(np.asarray(judge), plain.resized_to(24).prepare(image))


@pytest.mark.parametrize(
    ("size", "resize", "message"),
    [
        (0, "squash", r"input_size must be \(height, width\) in pixels, got \(0, 0\)"),
        ((3, -1), "short", r"in pixels, got \(3, -1\)"),
        (8, "border", "resize must be squash or short, got 'border'"),
    ],
    ids=str,
)
def test_a_size_that_cannot_be_meant_is_refused(size, resize, message):
    with pytest.raises(BadValueError, match=message):
        IMAGENET.resized_to(size, resize)
