"""Accuracies of published weights on real images, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from holdfast.cli.main import app
from models.cifar_models import resnet20

pytestmark = pytest.mark.shared
MODELS = Path(__file__).parents[1] / "models" / "cifar_models.py"


def accuracy(tmp_path, *arguments):
    result = CliRunner().invoke(
        app, ["measure", "--json", "--store", str(tmp_path / "s"), *map(str, arguments)]
    )
    assert 0 == result.exit_code, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return next(row for row in rows if row["metric"] == "accuracy")


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.slow)])
def test_resnet20_is_within_a_tenth_of_a_point_of_a_bare_loop(shared, tmp_path, count):
    weights = shared / "data" / "weights" / "cifar10" / "resnet20-12fca82f.th"
    data = shared / "data" / "images" / "cifar10" / "cifar10_test_a.npz"
    net = resnet20().eval()
    state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
    net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    with np.load(data) as file:
        x, y = file["x"][:count], file["y"][:count]
    np.savez(tmp_path / "first.npz", x=x, y=y)
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    labels = torch.from_numpy(y.astype(np.int64))
    mean, std = (
        torch.tensor(numbers).view(3, 1, 1)
        for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.inference_mode():
        right = sum(
            (net((images / 255 - mean) / std).argmax(1) == truth).sum().item()
            for images, truth in zip(pixels.split(250), labels.split(250), strict=True)
        )

    images = f"npz:{tmp_path / 'first.npz'}"
    row = accuracy(
        tmp_path, "--model", f"{MODELS}:resnet20", "--weights", weights, "--data", images
    )

    assert count == row["count"]
    assert abs(right / count - row["value"]) <= 0.001
    assert row["low"] <= 0.9173 <= row["high"]  # published, on all 10,000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "weights", "about"),
    [
        ("timm:tf_efficientnet_lite0", "tf_efficientnet_lite0.pth", 0.87),
        ("torchvision:squeezenet1_0", "squeezenet1_0.pth", 0.62),
    ],
)
def test_imagenet_weights_do_as_well_as_they_should(shared, tmp_path, model, weights, about):
    row = accuracy(
        tmp_path,
        "--model",
        model,
        "--weights",
        shared / "data" / "weights" / "imagenet" / weights,
        "--data",
        f"folder:{shared / 'data' / 'images' / 'imagenet-sample'}",
        "--labels",
        "imagenet",
    )

    assert 500 == row["count"]
    assert abs(about - row["value"]) < 0.015
