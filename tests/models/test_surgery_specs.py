"""Changed networks: how people name, load, train and measure them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.core.errors import BadValueError
from holdfast.models import head_layers, load_model
from holdfast.models.surgery._parts import Blur, binomial, first_convolution, gaussian
from holdfast.training import Options
from holdfast.training.reading import recipe_of
from holdfast.training.run import train
from models.surgery_nets import Net, classifier, logits, make, named, pictures


class TestSpecs:
    def test_changes_are_made_in_order_and_named(self):
        found = load_model("small:cnn + low_pass(std=0.6) + larger_stem(start=embed)", device="cpu")
        turned = load_model(
            "small:cnn + larger_stem(start=embed) + low_pass(std=0.6)", device="cpu"
        )

        assert found.name == "small:cnn + low_pass(std=0.6) + larger_stem(add=2, start=embed)"
        assert found.identity != turned.identity
        assert torch.allclose(logits(found, pictures()), logits(turned, pictures()), atol=1e-5)

    def test_weights_are_loaded_before_the_change(self, tmp_path):
        before = load_model("small:cnn", init_seed=3, device="cpu")
        torch.save(before.net.state_dict(), tmp_path / "w.pt")
        after = load_model("small:cnn + low_pass(std=0.6)", weights=tmp_path / "w.pt", device="cpu")
        judge = make("low_pass(std=0.6)", before)

        assert torch.equal(logits(after, pictures()), logits(judge, pictures()))
        assert "untrained" not in after.flags

    def test_changes_and_settings_have_ids_of_their_own(self):
        texts = (
            "low_pass(std=0.5)", "low_pass(std=0.6)", "larger_stem(add=2)", "larger_stem(add=4)",
            "larger_stem(start=embed)", "blurred_downsampling(taps=3)",
            "blurred_downsampling(taps=5)", "blurred_downsampling(stem=True)",
        )  # fmt: skip
        bare = named("small:cnn")
        found = [make(text, bare) for text in texts]

        assert len({one.identity for one in [bare, *found]}) == 1 + len(texts)
        # Weights that are other ones tell it too.
        assert len({one.digest for one in [bare, *found[2:5]]}) == 4
        assert make("low_pass()", bare).identity == found[0].identity

    def test_a_change_twice_is_made_twice(self):
        found = named("small:cnn + low_pass + low_pass")
        once = named("small:cnn + low_pass")
        blurred = once.net.blur(pictures())

        assert found.name == "small:cnn + low_pass(std=0.5) + low_pass(std=0.5)"
        assert torch.allclose(logits(found, pictures()), logits(once, blurred), atol=1e-5)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("small:cnn +low_pass", "a space on both sides"),
            ("small:cnn+low_pass(std=0.5)", "a space on both sides"),
            ("timm:no_such_net +low_pass", "a space on both sides"),
            ("small:cnn + low_pass +larger_stem", "a space on both sides"),
            ("small:cnn + ", "one is missing"),
            ("small:cnn +", "one is missing"),
            (" + low_pass", "one is missing"),
            ("small:cnn +  + low_pass", "one is missing"),
            ("small:cnn + low_pass(0.5)", "what each value is"),
            ("small:cnn + low_pass(std=1", "cannot read the spec"),
            ("small:cnn + average_pooling", "no max pooling layer"),
        ],
    )
    def test_what_people_mistype_says_what_is_wrong(self, text, why):
        with pytest.raises(BadValueError, match=why):
            named(text)

    def test_the_layer_of_logits_is_found_behind_a_filter(self):
        net = Net()
        net.pretrained_cfg = {"classifier": "head"}
        net.probe = nn.Linear(8, 2)  # a later one, which gives no logits
        found = make("low_pass()", make("low_pass()", classifier(net)))

        assert head_layers(found.net) == ("net.net.head",)

    def test_a_plus_sign_in_a_folder_begins_no_change(self, tmp_path):
        folder = tmp_path / "one + two"
        folder.mkdir()
        (folder / "net.py").write_text(MODEL)

        assert named(f"{folder / 'net.py'}:net").classes == 10
        assert type(named(f"{folder / 'net.py'}:net + low_pass").net).__name__ == "Filtered"

    def test_many_changes_are_longer_than_a_name_of_a_file(self):
        assert named("small:cnn" + " + low_pass(std=0.05)" * 20).name.count("low_pass") == 20

    def test_fresh_weights_have_the_names_of_the_changed_network(self, tmp_path):
        torch.save(named("small:cnn").net.state_dict(), tmp_path / "w.pt")
        partly = load_model(
            "small:cnn + blurred_downsampling + low_pass",
            weights=tmp_path / "w.pt", weights_part="backbone", classes=7, device="cpu",
        )  # fmt: skip
        wholly = named("small:cnn + blurred_downsampling + low_pass")

        assert partly.fresh_keys == ("net.head.weight", "net.head.bias")
        assert set(wholly.fresh_keys) == set(wholly.net.state_dict())


MODEL = """
from torch import nn


class Net(nn.Sequential):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)
    input_size = (8, 8)


def net(classes=10):
    body = nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, 2, 1)
    return Net(*body, nn.Flatten(), nn.Linear(16, classes))
"""


class TestTraining:
    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("small:cnn", ("low_pass(std=0.5)", "larger_stem(add=2)")),
            ("FILE", ("normalization(mean=0.3, std=0.4)", "blurred_downsampling(stem=True)")),
        ],
    )
    def test_a_trained_folder_gives_the_logits_of_its_weights(self, name, changes, tmp_path):
        (tmp_path / "net.py").write_text(MODEL)
        name = f"{tmp_path / 'net.py'}:net" if name == "FILE" else name
        spec = " + ".join((name, *changes))
        folder = tmp_path / "one + low_pass"  # a name that is no change
        _train(spec, folder)
        found = load_model(str(folder), device="cpu")

        judge = named(name)
        for change in changes:
            judge = make(change, judge)
        start = logits(judge, pictures(side=8))
        judge.net.load_state_dict(load_file(folder / "best.safetensors"))
        assert torch.equal(logits(found, pictures(side=8)), logits(judge, pictures(side=8)))
        assert not torch.equal(start, logits(judge, pictures(side=8)))  # it has learned
        assert (found.fresh_keys, found.flags) == ((), frozenset())
        assert found.preprocessing == judge.preprocessing

    def test_a_network_of_one_size_that_was_trained_at_another(self, tmp_path):
        recipe = {"data": {"size": 48}, "model": {"pretrained": False}}
        _train("timm:test_vit + low_pass(std=0.6)", tmp_path / "run", **recipe)
        found = load_model(str(tmp_path / "run"), device="cpu")

        assert found.input_size == (48, 48)
        assert found.net.net.pos_embed.shape[1] == 1 + (48 // 16) ** 2

    def test_it_is_measured_and_reported_under_its_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        spec = "small:cnn + low_pass(std=0.5)"
        asked = ["--model", spec, "--model", "small:cnn", "--data", "digits", "--n", "6"]
        found = CliRunner().invoke(app, ["measure", *asked, "--store", "s", "--device", "cpu"])
        assert found.exit_code == 0, found.output
        page = CliRunner().invoke(app, ["report", "s", "--out", "page"])

        assert page.exit_code == 0, page.output
        assert spec in (tmp_path / "page" / "index.html").read_text()
        rows = (tmp_path / "page" / "measurements.csv").read_text()
        assert f"{spec}," in rows
        assert "small:cnn," in rows

    @pytest.mark.slow
    def test_a_changed_network_is_trained_saved_and_loaded(self, tmp_path):
        """Its own layers, the shift among them, come back."""
        spec = "timm:test_resnet + low_pass(std=0.6) + normalization(mean=0.4, std=0.3)"
        _train(spec, tmp_path / "net", model={"pretrained": False})
        found = load_model(str(tmp_path / "net"), device="cpu")
        again = load_model(f"{tmp_path / 'net'} + low_pass(std=0.5)", device="cpu")

        assert type(found.net).__name__ == "Filtered"
        assert not found.fresh_keys
        assert "untrained" not in found.flags
        assert again.digest and again.identity != found.identity


def _train(spec, folder, **recipe):
    """Two steps on digits."""
    asked = {
        "data": {"name": "digits", "split": "train", "n": 64} | recipe.get("data", {}),
        "model": {"name": spec} | recipe.get("model", {}),
        "train": {"epochs": 1, "batch_size": 32},
    }
    list(train(recipe_of(asked), folder, Options(device="cpu")))


NETWORKS = (
    ("timm:tf_efficientnet_lite0", "tf_efficientnet_lite0.pth"),
    ("torchvision:squeezenet1_0", "squeezenet1_0.pth"),
)


@pytest.mark.slow
@pytest.mark.shared
class TestPublishedWeights:
    """Of networks with TensorFlow's padding, and with pools that round up."""

    @pytest.mark.parametrize(("name", "file"), NETWORKS)
    def test_logits_are_those_of_the_law(self, name, file, shared):
        before = load_model(name, weights=shared / "data/weights/imagenet" / file, device="cpu")
        images = _photographs(before, shared)
        old = logits(before, images)
        for change in ("larger_stem(add=4, start=embed)", "normalization(mean=0.2, std=0.4)"):
            new = logits(make(change, before), images)
            assert float((new - old).abs().max()) <= 1e-4 * float(old.abs().max())
        blurred = Blur(gaussian(0.8))(images)  # which commutes with the normalization
        new, judge = logits(make("low_pass(std=0.8)", before), images), logits(before, blurred)
        assert float((new - judge).abs().max()) <= 1e-4 * float(old.abs().max())
        assert float((new - old).abs().amax(1).min()) > 0.1  # and it does something

    @pytest.mark.parametrize(("name", "file"), NETWORKS)
    def test_a_blurred_stem_is_the_stem_behind_a_blur(self, name, file, shared):
        before = load_model(name, weights=shared / "data/weights/imagenet" / file, device="cpu")
        after = make("larger_stem(add=2)", before)
        old, new = (first_convolution(found.net)[1] for found in (before, after))
        images = torch.randn(1, 3, 65, 64, generator=torch.Generator().manual_seed(3))
        inside = (..., slice(2, -2), slice(2, -2))
        with torch.no_grad():
            judge, found = old(Blur(binomial(3))(images)), new(images)

        assert found.shape == judge.shape
        assert torch.allclose(found[inside], judge[inside], atol=1e-4)

    def test_every_pool_and_stride_keeps_its_size(self, shared):
        weights = shared / "data/weights/imagenet" / "squeezenet1_0.pth"
        before = load_model("torchvision:squeezenet1_0", weights=weights, device="cpu")
        for change in ("average_pooling()", "blurred_downsampling()"):
            after = make(change, before)
            for side in (64, 65, 79):
                image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
                with torch.no_grad():
                    old, new = before.net.features(image), after.net.features(image)
                assert new.shape == old.shape
                assert bool(new.isfinite().all())


def _photographs(before, shared):
    found = []
    for path in sorted((shared / "data/images/imagenet-sample").iterdir())[::40]:
        with Image.open(path) as picture:
            pixels = before.prepare(np.array(picture.convert("RGB")))
        found.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255)
    return torch.stack(found)
