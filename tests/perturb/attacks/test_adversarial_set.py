import errno
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from attacks.crowd import Curved, images_of

from helpers import Bright
from holdfast.core.errors import HoldfastError, StoreError
from holdfast.perturb.attacks import adversarial_set
from holdfast.perturb.attacks.adversarial_set import AdversarialSet
from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.craft import as_run, craft

SHAPE, CLASSES, COUNT = (3, 8, 8), 4, 24
MODEL = Curved(SHAPE, CLASSES).eval()
PIXELS = images_of(SHAPE, COUNT).mul(255).round().to(torch.uint8)
LABELS = MODEL(PIXELS / 255).argmax(1)
LABELS[0] = (LABELS[0] + 1) % CLASSES
IDS = torch.arange(COUNT) + 100
SPEC = "fgsm(eps=8/255) + pgd(eps=8/255, steps=5)"


def made(spec=SPEC):
    crafted = craft(spec, MODEL, PIXELS / 255, LABELS, ids=IDS)
    return AdversarialSet(crafted, PIXELS, LABELS, IDS, {"model": "curved", "seed": 0})


def read(path):
    """Arrays and metadata of a file of either kind."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
        return arrays, json.loads(str(arrays.pop("metadata")))
    with safetensors.safe_open(path, framework="np") as file:
        return safetensors.numpy.load_file(path), json.loads(file.metadata()["metadata"])


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_what_was_written_can_be_read(tmp_path, name):
    crafted = made().crafted
    arrays, told = read(made().save(tmp_path / name))

    assert np.array_equal(crafted.images.numpy(), arrays["x"])
    assert np.array_equal(PIXELS.numpy(), arrays["clean"])
    assert np.array_equal(LABELS.numpy(), arrays["y"])
    assert np.array_equal(IDS.numpy(), arrays["id"])
    assert np.array_equal(crafted.fallen.numpy(), arrays["fallen"])
    assert np.array_equal(crafted.norm.numpy(), arrays["norm"], equal_nan=True)
    assert np.array_equal(MODEL(crafted.images).argmax(1).numpy(), arrays["prediction"])
    assert ("curved", 0, crafted.condition) == (told["model"], told["seed"], told["condition"])
    assert (COUNT, int(crafted.fallen.sum())) == (told["count"], told["fallen"])


def test_both_kinds_of_file_hold_the_same(tmp_path):
    first, second = (read(made().save(tmp_path / name)) for name in ("a.npz", "a.safetensors"))

    assert first[1] == second[1]
    assert sorted(first[0]) == sorted(second[0])
    assert all(np.array_equal(first[0][n], second[0][n], equal_nan=True) for n in first[0]
               if first[0][n].dtype.kind != "b")  # fmt: skip


def test_broken_by_says_which_member_did_it(tmp_path):
    arrays, told = read(made().save(tmp_path / "a.npz"))
    names = {-1: "clean", **dict(enumerate(told["members"])), len(told["members"]): None}

    assert ["fgsm", "pgd"] == told["members"]
    assert list(made().crafted.broken_by) == [names[code] for code in arrays["broken_by"].tolist()]
    assert {-1, 0, 1, 2} >= set(arrays["broken_by"].tolist()) > {-1, 0}


@pytest.mark.parametrize(
    "spec",
    [
        "pgd(eps=8/255)",
        "pgd(eps=0.031)",
        "pgd(norm=l2, eps=1)",
        "pgd(norm=l1, eps=9)",
        "fgsm(norm=l2, eps=0.3)",
        "fab(norm=l2)",
    ],
)
def test_pictures_stand_on_levels_within_the_ball(spec):
    run = as_run(spec)
    found = made(spec).as_pictures(run, MODEL).crafted
    levels = found.images.mul(255)
    eps = run.eps[0] or np.inf
    sizes = BALLS[run.parts[0].norm].size(found.images.double() - (PIXELS / 255).double())

    torch.testing.assert_close(levels.round(), levels, atol=1e-4, rtol=0)
    assert float(sizes.max()) <= float(eps) * (1 + 1e-6) + 1e-6
    assert found.norm[found.fallen].equal(sizes[found.fallen])


@pytest.mark.parametrize("spec", ["pgd(eps=8/255)", "pgd(norm=l2, eps=1)", "pgd(norm=l1, eps=9)"])
def test_pictures_that_are_said_to_fool_the_model_do(spec):
    found = made(spec).as_pictures(as_run(spec), MODEL)

    assert found.crafted.fallen.equal(MODEL(found.crafted.images).argmax(1) != LABELS)
    assert int(found.crafted.fallen.sum()) > COUNT // 3


def test_what_rounding_undoes_stands_again_and_is_told():
    # Pixels are 1.5 levels above one half; eps is 1.9 levels, of which rounding leaves one.
    model, pixels = Bright(), torch.full((2, 3, 8, 8), 129, dtype=torch.uint8)
    labels, ids, spec = torch.tensor([1, 0]), torch.arange(2), "pgd(eps=0.00745)"
    crafted = craft(spec, model, pixels / 255, labels)
    found = AdversarialSet(crafted, pixels, labels, ids, {}).as_pictures(as_run(spec), model)

    assert ("pgd", "clean") == crafted.broken_by
    assert (None, "clean") == found.crafted.broken_by
    assert [False, True] == found.crafted.fallen.tolist()
    assert 1 == found.metadata["lost_by_rounding"]
    assert found.crafted.images.equal(pixels / 255)
    assert found.crafted.norm.isnan().tolist() == [True, False]
    torch.testing.assert_close(found.crafted.logits, model(pixels / 255))


def test_room_in_the_ball_is_used():
    # 192 pixels that each want 4.6 levels: all at 4 would leave a fourth of the ball empty.
    deltas = torch.full((1, 3, 8, 8), 4.6)
    radius = 4.6 * 192**0.5 / 255
    moved = adversarial_set._rounded(deltas, BALLS["l2"], radius)
    size = float(BALLS["l2"].size(moved.double() / 255))

    assert {4.0, 5.0} == set(moved.flatten().tolist())
    assert radius - 4.5 / 255**2 / radius <= size <= radius


def test_pictures_are_written_as_bytes_with_channels_last(tmp_path):
    found = made("pgd(eps=8/255)").as_pictures(as_run("pgd(eps=8/255)"), MODEL)
    arrays, told = read(found.save(tmp_path / "a.npz"))

    assert ("uint8", (COUNT, 8, 8, 3), "NHWC") == (
        str(arrays["x"].dtype), arrays["x"].shape, told["axes"],
    )  # fmt: skip
    assert np.array_equal(PIXELS.permute(0, 2, 3, 1).numpy(), arrays["clean"])
    torch.testing.assert_close(
        torch.from_numpy(arrays["x"]).permute(0, 3, 1, 2) / 255, found.crafted.images
    )


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_a_file_that_is_there_is_kept_unless_force_is_said(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(HoldfastError, match="is there already"):
        made().save(tmp_path / name)

    assert "precious" == (tmp_path / name).read_text()
    assert COUNT == len(read(made().save(tmp_path / name, force=True))[0]["x"])


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("precious")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(adversarial_set.np, "savez", full)
    monkeypatch.setattr(adversarial_set.safetensors.numpy, "save_file", full)
    with pytest.raises(StoreError, match="No space left on device; nothing was kept"):
        made().save(tmp_path / name, force=True)

    assert [name] == [path.name for path in tmp_path.iterdir()]
    assert "precious" == (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.npy", "ending in .npz or .safetensors"),
        ("nowhere/a.npz", "no folder .*nowhere"),
        ("folder.npz", "is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_told(tmp_path, name, words):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(HoldfastError, match=words):
        made().save(tmp_path / name)
