import json

import numpy as np
import pytest

import holdfast.cli.craft as craft_module
from helpers import pictures


@pytest.fixture
def craft(cli):
    """Function that runs `holdfast craft` on the pictures."""

    def run(*arguments, model="net.py:bright", data="npz:a.npz", attack="pgd(eps=8/255)"):
        common = ("craft", "--model", model, "--data", data, "--attack", attack)
        return cli(*common, "--out", "b.npz", *arguments)

    return run


def loaded(path):
    """Arrays of a file."""
    with np.load(path) as file:
        return dict(file)


def refused(result, *words):
    assert 2 == result.exit_code, result.output
    assert "Traceback" not in result.output
    assert "" == result.stdout
    for word in words:
        assert word in result.stderr.replace("\n", " ")


def test_the_file_holds_the_images_in_the_order_of_their_ids(craft, here):
    result = craft()
    arrays, given = loaded(here / "b.npz"), loaded(here / "a.npz")

    assert 0 == result.exit_code, result.output
    assert list(range(60)) == arrays["id"].tolist()
    assert np.array_equal(given["y"], arrays["y"])
    assert np.array_equal(given["x"].transpose(0, 3, 1, 2), arrays["clean"])
    assert ("float32", (60, 3, 32, 32)) == (str(arrays["x"].dtype), arrays["x"].shape)
    assert np.abs(arrays["x"] - arrays["clean"] / np.float32(255)).max() <= 8 / 255 + 1e-6


def test_the_command_tells_what_fell(craft, here):
    result = craft()
    fallen = int(loaded(here / "b.npz")["fallen"].sum())

    assert 0 < fallen < 60
    assert f"{fallen} of 60 images fool the model: 0 from the start, pgd {fallen}" in result.stdout
    assert "written: b.npz" in result.stdout


def test_the_same_samples_fall_as_in_a_measurement(craft, measure, here):
    craft("--seed", "3")
    rows = measure("--perturb", "pgd(eps=8/255)", "--seed", "3", "--json").stdout.splitlines()
    robust = [
        row["value"]
        for row in map(json.loads, rows)
        if row["metric"] == "accuracy" and row["condition"] != "clean"
    ]

    assert [float((~loaded(here / "b.npz")["fallen"]).mean())] == robust


def test_metadata_tell_where_the_images_come_from(craft, here):
    craft("--seed", "3", "--n", "5", "--split", "mine")
    told = json.loads(str(loaded(here / "b.npz")["metadata"]))

    assert ("npz:a.npz", "mine", 3, 5) == (
        told["data"], told["split"], told["seed"], told["count"],
    )  # fmt: skip
    assert told["model"].endswith("net.py:bright")
    assert told["condition"].startswith("pgd(norm=linf, eps=8/255, steps=40")
    assert 64 == len(told["weights_digest"])


def test_n_takes_the_images_that_measure_takes(craft, measure, here):
    craft("--n", "7")
    measure("--n", "7")
    from holdfast.records import Store  # noqa: PLC0415

    store = Store.existing(here / "s")
    ids = store.samples(store.runs()[0])["id"].to_list()

    assert ids == loaded(here / "b.npz")["id"].tolist()


def test_an_image_is_attacked_alike_whatever_stands_beside_it(craft, here):
    craft("--n", "7")
    craft("--out", "c.npz")
    few, all_ = loaded(here / "b.npz"), loaded(here / "c.npz")

    assert np.array_equal(all_["x"][few["id"]], few["x"])


def test_the_seed_keys_the_draws(craft, here):
    craft("--seed", "1")
    craft("--seed", "2", "--out", "c.npz")

    assert not np.array_equal(loaded(here / "b.npz")["x"], loaded(here / "c.npz")["x"])


def test_rounded_pictures_can_be_measured(craft, cli, here):
    result = craft("--round")
    again = cli("measure", "--model", "net.py:bright", "--data", "npz:b.npz", "--json")
    accuracy = json.loads(again.stdout.splitlines()[0])["value"]
    fallen = loaded(here / "b.npz")["fallen"]

    assert 0 == result.exit_code, result.output
    assert 0 < fallen.sum() < 60
    assert float((~fallen).mean()) == pytest.approx(accuracy)


def test_what_rounding_undoes_is_told(craft):
    assert (
        "more did before they were rounded to 8 bits"
        in craft("--round", attack="pgd(eps=0.031)").stdout
    )


def test_safetensors_are_written_too(craft, here):
    from safetensors.numpy import load_file  # noqa: PLC0415

    assert 0 == craft("--out", "c.safetensors").exit_code
    assert 60 == len(load_file(here / "c.safetensors")["x"])


def test_broken_images_are_left_out_and_said(craft, here):
    from PIL import Image  # noqa: PLC0415

    for place, picture in enumerate(pictures(4)):
        folder = here / "photos" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    (here / "photos" / "a" / "1.png").write_bytes(b"not a picture")
    result = craft(data="folder:photos")
    arrays = loaded(here / "b.npz")

    assert "1 images could not be read and are left out" in result.stderr
    assert 4 == len(arrays["x"])
    assert 1 == json.loads(str(arrays["metadata"]))["broken_images"]


def test_a_file_that_is_there_is_kept_unless_force_is_said(craft, here):
    (here / "b.npz").write_text("precious")
    refused(craft(), "b.npz is there already", "--force")

    assert "precious" == (here / "b.npz").read_text()
    assert 0 == craft("--force").exit_code
    assert 60 == len(loaded(here / "b.npz")["x"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attack", "pgdd(eps=8/255)"), ("no condition named 'pgdd'", "did you mean pgd")),
        (("--attack", "fog(severity=3)"), ("is no attack", "holdfast list attacks")),
        (("--attack", "pgd(eps=8)"), ("did you mean 8/255?",)),
        (("--attack", "pgd(eps=[1/255, 2/255])"), ("the images of one eps",)),
        (("--out", "b.pt"), ("ending in .npz or .safetensors, got b.pt",)),
        (("--out", "nowhere/b.npz"), ("no folder", "nowhere", "make it first")),
        (("--data", "npz:gone.npz"), ("gone.npz",)),
        (("--data", "digits"), ("gives 2 classes", "digits has 10")),
        (("--model", "net.py:brigth"), ("brigth", "bright")),
        (("--model", "net.py:probabilities"), ("probabilities", "before softmax")),
        (("--weights", "none.pth"), ("none.pth",)),
        (("--device", "tpu"), ("tpu",)),
        (("--n", "0"), ("--n",)),
        (("--seed", "99999999999999999999"), ("seed must be a whole number of 64 bits",)),
    ],
)
def test_a_wrong_option_is_told_and_nothing_is_written(craft, here, arguments, words):
    before = sorted(path.name for path in here.iterdir())
    refused(craft(*arguments), *words)

    assert before == sorted(path.name for path in here.iterdir() if path.name != "__pycache__")


def test_a_small_disk_is_told_before_the_attack(craft, here, monkeypatch):
    usage = craft_module.shutil.disk_usage(here)._replace(free=1000)
    monkeypatch.setattr(craft_module.shutil, "disk_usage", lambda _: usage)
    refused(craft(), "b.npz needs 2 MB and its disk has 0 MB left", "--n")

    assert not (here / "b.npz").exists()


def test_an_interrupted_command_writes_nothing(craft, here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(craft_module, "_watch", stop)
    result = craft()

    assert 130 == result.exit_code
    assert "stopped; nothing was written" in result.stderr
    assert not (here / "b.npz").exists()


def test_pictures_that_lack_the_last_class_can_be_measured(craft, measure, here):
    file = here / "a.npz"
    given = loaded(file)
    np.savez(file, x=given["x"][given["y"] == 0], y=given["y"][given["y"] == 0])
    crafted = craft("--round")
    measured = measure(data="npz:b.npz")

    assert (0, 0) == (crafted.exit_code, measured.exit_code), crafted.output + measured.output
