"""What pretraining without labels is for: features that a linear model can use."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from holdfast.models import load_model
from holdfast.training import load_recipe, train
from holdfast.training.pretrain import Headless

CHUNK = 500
SETTINGS = (
    "model.name=small:cnn(width=16)",
    "train.projection=512",
    "train.epochs=20",
    "train.batch_size=64",
    "optimizer.lr=2e-3",
    "schedule.kind=onecycle",
    "schedule.peak=0.1",
    "schedule.warmup=0",
)


def features(net, pixels):
    with torch.no_grad():
        parts = [
            net(torch.tensor(pixels[start : start + CHUNK]).permute(0, 3, 1, 2).float() / 255)
            for start in range(0, len(pixels), CHUNK)
        ]
    return torch.cat(parts).numpy()


def probed(weights, learned, tested):
    """Accuracy of a linear model on standardized features."""
    classifier = load_model("small:cnn(width=16)", classes=10, device="cpu", weights=weights)
    net = Headless(classifier.net).net.eval()
    known, unknown = (features(net, part["x"]) for part in (learned, tested))
    scaler = StandardScaler().fit(known)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(known), learned["y"])
    return float((model.predict(scaler.transform(unknown)) == tested["y"]).mean())


@pytest.mark.slow
@pytest.mark.shared
def test_barlow_twins_beat_random_features_by_eight_points(shared, tmp_path):
    folder = shared / "data" / "images" / "cifar10"
    learned, tested = (
        np.load(folder / name) for name in ("cifar10_train_10k.npz", "cifar10_test_a.npz")
    )
    path = folder / "cifar10_train_10k.npz"
    recipe = load_recipe("barlow-twins-cifar10", [f"data.name=npz:{path}", *SETTINGS])
    train(recipe, out=tmp_path, device="cpu")
    gain = probed(tmp_path / "last.safetensors", learned, tested) - probed(None, learned, tested)

    assert gain >= 0.08
