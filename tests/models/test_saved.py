"""A folder that training wrote is a model."""

import json
from pathlib import Path

import pytest
import torch

from holdfast.core.errors import BadValueError, MissingError
from holdfast.models import Preprocessing, load_model
from holdfast.models.saved import MODEL_FILE, SavedModel, is_saved, read_saved
from holdfast.training.checkpoint import save_tensors

SEEN = Preprocessing(
    input_size=(16, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), resize="squash"
)
IMAGES = torch.rand(3, 3, 16, 12, generator=torch.Generator().manual_seed(0))


def saved(**changes):
    body = {
        "name": "small:cnn(width=4)",
        "classes": 3,
        "class_names": ("cat", "dog", "owl"),
        "preprocessing": SEEN,
        "weights": "best.safetensors",
    }
    return SavedModel(**{**body, **changes})


@pytest.fixture
def folder(tmp_path):
    """Folder of a network with weights that no name gives."""
    net = load_model("small:cnn(width=4)", classes=3, device="cpu", init_seed=5).net
    save_tensors(tmp_path / "best.safetensors", net.state_dict())
    (tmp_path / MODEL_FILE).write_text(saved().text())
    return tmp_path


def logits(net):
    with torch.no_grad():
        return net(IMAGES)


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(), SEEN, Preprocessing(channels=1, mean=(0.5,), std=(0.5,), scale_size=(9, 9))],
    ids=str,
)
def test_what_is_written_is_what_is_read(preprocessing, tmp_path):
    one = saved(preprocessing=preprocessing, class_names=("a", "é", "z z"))
    (tmp_path / MODEL_FILE).write_text(one.text(), "utf-8")
    (tmp_path / "best.safetensors").touch()

    assert one == read_saved(tmp_path)
    assert is_saved(str(tmp_path))


def test_the_folder_is_the_network_that_was_trained(folder):
    found = load_model(str(folder), device="cpu")
    expected = load_model("small:cnn(width=4)", classes=3, device="cpu", init_seed=5)

    assert SEEN == found.preprocessing
    assert 3 == found.classes
    assert torch.equal(logits(expected.net), logits(found.net))
    assert () == found.card.fresh_keys
    assert "untrained" not in found.card.flags
    # As the classifier, it normalizes by what the folder says.
    normal = (IMAGES - torch.tensor(SEEN.mean)[:, None, None]) / torch.tensor(SEEN.std)[
        :, None, None
    ]
    with torch.no_grad():
        torch.testing.assert_close(expected.net(normal), found(IMAGES), atol=1e-5, rtol=1e-5)


def test_a_path_may_be_relative_or_begin_at_home(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    found = [load_model(name, device="cpu") for name in (f"./{folder.name}", f"~/{folder.name}")]

    assert [3, 3] == [one.classes for one in found]


def test_another_file_of_weights_goes_into_the_same_network(folder, tmp_path):
    other = load_model("small:cnn(width=4)", classes=3, device="cpu", init_seed=6).net
    save_tensors(tmp_path / "last.safetensors", other.state_dict())
    found = load_model(str(folder), weights=tmp_path / "last.safetensors", device="cpu")

    assert torch.equal(logits(other), logits(found.net))
    assert SEEN == found.preprocessing


def test_it_may_get_another_last_layer(folder):
    found = load_model(str(folder), classes=7, weights_part="backbone", device="cpu")
    trained = load_model(str(folder), device="cpu").net.state_dict()
    own = found.net.state_dict()
    same = {name for name in own if own[name].shape == trained[name].shape}

    assert 7 == found.classes
    assert 2 == len(own) - len(same)
    assert all(torch.equal(own[name], trained[name]) for name in same)
    with pytest.raises(BadValueError, match="only the last layer differs"):
        load_model(str(folder), classes=7, device="cpu")


def test_folders_that_hold_no_network_are_no_models(tmp_path):
    assert not is_saved(str(tmp_path))
    assert not is_saved("timm:resnet18")
    with pytest.raises(MissingError, match=r"no model.json in .*`holdfast train run` writes it"):
        read_saved(tmp_path)
    with pytest.raises(BadValueError, match=r"is a folder without model.json"):
        load_model(str(tmp_path))


def test_weights_that_are_gone_are_missing(folder):
    (folder / "best.safetensors").unlink()

    with pytest.raises(MissingError, match=r"lacks its weights best.safetensors; train again, or"):
        load_model(str(folder))


def damaged(**changes):
    return json.dumps({**json.loads(saved().text()), **changes})


DAMAGE = {
    "no JSON": "{",
    "empty": "",
    "a list": "[]",
    "a number": "5",
    "a field less": json.dumps({"name": "small:cnn"}),
    "a field more": damaged(more=1),
    "no number of classes": damaged(classes="many"),
    "no classes": damaged(classes=None),
    "no names": damaged(class_names=None),
    "no preprocessing": damaged(preprocessing=None),
    "unknown preprocessing": damaged(preprocessing={"colors": 3}),
    "impossible preprocessing": damaged(preprocessing={"mean": [125.0] * 3, "std": [60.0] * 3}),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_named_with_the_reason(how, folder):
    (folder / MODEL_FILE).write_text(DAMAGE[how])

    with pytest.raises(
        BadValueError, match=r"model.json is not what `holdfast train run` writes: .+"
    ):
        load_model(str(folder))


def test_bytes_that_are_no_text_are_damage_too(folder):
    Path(folder, MODEL_FILE).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BadValueError, match=r"model.json is not what"):
        read_saved(folder)


def test_a_folder_may_begin_from_a_folder(folder, tmp_path):
    inner = tmp_path / "second"
    inner.mkdir()
    net = load_model(str(folder), classes=2, weights_part="backbone", device="cpu").net
    save_tensors(inner / "last.safetensors", net.state_dict())
    (inner / MODEL_FILE).write_text(
        saved(
            name=str(folder), classes=2, class_names=("a", "b"), weights="last.safetensors"
        ).text()
    )
    found = load_model(str(inner), device="cpu")

    assert 2 == found.classes
    assert torch.equal(logits(net), logits(found.net))
