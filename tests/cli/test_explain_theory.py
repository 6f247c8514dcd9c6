"""`holdfast explain theory`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

NET = """
import torch
from torch import nn


class Net(nn.Module):
    input_size = (16, 16)

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)
        for weight in (self.conv.weight, self.head.weight):
            weight.data = torch.randn(weight.shape, generator=generator) / 3

    def forward(self, images):
        return self.head(self.conv(images - 0.5).relu().mean((2, 3)))


def conv():
    return Net().eval()


def curved():
    net = Net().eval()
    net.forward = lambda images: net.head(net.conv(images**2).relu().mean((2, 3)))
    return net
"""


@pytest.fixture
def written(here):
    """`theory.py` with networks, and 12 pictures of three classes in `t.npz`."""
    (here / "theory.py").write_text(NET)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    np.savez(here / "t.npz", x=x, y=np.arange(12) % 3)
    return here


def test_random_fields_stand_in_for_images_and_it_is_said(cli, written):
    found = cli("explain", "theory", "theory.py:conv", "--n", "16", "--out", "why")

    assert 0 == found.exit_code, found.output
    assert "stem: conv: 6 filters of 3x3 pixels, stride 1" in found.stdout
    assert "noise gain (variance, mean over filters): exact" in found.stdout
    assert "normalization stretches pixels up to 1.00 times" in found.stdout
    assert "noise of sigma 0.12 on 16 images" in found.stdout
    assert "random fields" in found.stderr
    assert {"theory.json", "page.html"} == {path.name for path in (written / "why").iterdir()}
    kept = json.loads((written / "why" / "theory.json").read_text())
    assert "16 random fields" in kept["source"]
    exact = sum(kept["stem_gains"]) / 6
    assert exact == pytest.approx(kept["stem_exact"])
    assert f"exact {exact:.6g}" in found.stdout
    assert kept["ntk"] is None


def test_images_of_a_data_set_and_bounds(cli, written):
    arguments = ("explain", "theory", "theory.py:conv", "--data", "npz:t.npz", "--ntk")
    found = cli(*arguments, "--n", "9", "--sigma", "0.2", "--out", "why")

    assert 0 == found.exit_code, found.output
    assert "noise of sigma 0.2 on 9 images" in found.stdout
    assert "tangent kernels of 9 images, beta 0.5, attack of 8/255 in 7 steps" in found.stdout
    for kernel in ("clean", "robust", "twice", "all", "robust_all"):
        assert f"\n{kernel} " in found.stdout
    assert "random fields" not in found.output
    kept = json.loads((written / "why" / "theory.json").read_text())
    assert [0.2, 9] == [kept["sigma"], kept["images"]]
    assert "9 images of npz:t.npz, split test" in kept["source"]
    for one in kept["ntk"]["kernels"]:
        assert one["bound"] is None or one["bound"] <= one["looser"]


def test_the_seed_keys_the_noise_and_nothing_else_does(cli, written):
    arguments = ("explain", "theory", "theory.py:conv", "--data", "npz:t.npz")
    first, second = cli(*arguments).stdout, cli(*arguments).stdout
    other = cli(*arguments, "--seed", "1").stdout

    assert first == second
    assert first != other
    assert first.splitlines()[0] == other.splitlines()[0]


def test_a_stem_that_is_not_linear_is_told(cli, written):
    found = cli("explain", "theory", "theory.py:curved", "--n", "4")

    assert 0 == found.exit_code, found.output
    assert "the stem is not linear in pixels" in found.stderr
    assert "stem:" not in found.stdout
    assert "noise of sigma" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--ntk",), "--ntk needs labeled images"),
        (("--sigma", "0"), "--sigma"),
        (("--sigma", "nan"), "--sigma"),
        (("--n", "1"), "2"),
        (("--data", "npz:none.npz"), "none.npz"),
    ],
)
def test_bad_input_is_refused_with_a_reason(cli, written, arguments, told):
    found = cli("explain", "theory", "theory.py:conv", *arguments)

    assert 0 != found.exit_code
    assert told in found.output
    assert "Traceback" not in found.output


def test_images_of_several_sizes_for_a_network_that_takes_any(cli, written):
    for place, size in enumerate((16, 20, 16)):
        folder = written / "pictures" / "test" / f"class{place % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (9 * place, 50, 60)).save(folder / f"{place}.png")
    found = cli("explain", "theory", "small:cnn", "--data", "folder:pictures")

    assert 0 != found.exit_code
    assert "takes any size" in found.output
    assert "give images of one size" in found.output
