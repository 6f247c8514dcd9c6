"""One clear message, exit status 2, no traceback, and nothing stored is lost."""

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import holdfast.records.store as store_module
from holdfast.records import Store


def refused(result, *words):
    """The message, after checking how the command ended."""
    assert 2 == result.exit_code, result.output
    assert "Traceback" not in result.output
    assert "" == result.stdout
    message = result.stderr.replace("\n", " ")
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--perturb", "fogg"), ("no condition named 'fogg'", "did you mean fog")),
        (("--perturb", "fog(severity=0)"), ("fog severity must be 1..5, got 0",)),
        (("--perturb", "fog(severity=6)"), ("fog severity must be 1..5, got 6",)),
        (("--perturb", "fog(severity=2.5)"), ("must be a whole number, got 2.5",)),
        (("--perturb", "fog(sigma=1)"), ("no parameter of corruption fog named 'sigma'",)),
        (("--perturb", "fog(3)"), ("write what each value is",)),
        (("--perturb", "fog(severity=3"), ("cannot read the spec",)),
        (("--perturb", ""), ("an empty condition",)),
        (("--perturb", "gaussian_noise(sigma=False)"), ("must be a number, got False",)),
        (("--perturb", "gaussian_noise(sigma=" + "9" * 400 + ")"), ("too large",)),
        (("--perturb", "fog(severity=" + "9" * 5000 + ")"), ("a spec of 5,014 characters",)),
        (("--perturb", "gaussian_blur(sigma=1, kernel=999999999)"), ("from 1 to 1001",)),
        (("--perturb", "brightness(factor=1e300)"), ("from 0",)),
        (("--perturb", "fog(severity=3, family=32.0)"), ("family must be", "got 32.0")),
        (("--perturb", "clean(x=1)"), ("clean takes no parameters",)),
        (("--seed", "99999999999999999999"), ("seed must be a whole number of 64 bits",)),
        (("--view", "9" * 5000), ("--view must be model, native or a size",)),
        (("--device", "meta"), ("device must be auto, cpu, cuda or mps",)),
        (("--perturb", "gaussian_noise(sigma=-0.1)"), ("sigma", "-0.1")),
        (("--perturb", "corruptions(severity=3)"), ("takes no parameters",)),
        (("--view", "big"), ("--view must be model, native or a size",)),
        (("--n", "0"), ("--n",)),
        (("--batch-size", "0"), ("--batch-size",)),
        (("--device", "tpu"), ("tpu",)),
        (("--split", "tes t"), ("split must be a word",)),
        (("--weights-part", "neck"), ("must be all or backbone, got 'neck'",)),
        (("--weights", "none.pth"), ("none.pth",)),
        (("--weights", "a.npz", "--weights", "b"), ("1 --model but 2 --weights",)),
        (("--labels", "nowhere.txt"), ("nowhere.txt",)),
    ],
)
def test_a_wrong_option_is_told(measure, arguments, words, here):
    refused(measure(*arguments), *words)

    assert not list(here.glob("s/*/measurements.parquet"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("resnet50", ("timm:resnet50",)),
        ("timm:resnet5O", ("did you mean", "resnet50")),
        ("torchvision:resnet51", ("did you mean", "resnet50")),
        ("gone.py:bright", ("gone.py",)),
        ("net.py", ("net.py:",)),
        ("net.py:brigth", ("brigth", "bright")),
        ("net.py:number", ("number",)),
        ("net.py:stops", ("no checkpoint in the usual place",)),
        ("net.py:probabilities", ("probabilities", "before softmax")),
        ("net.py:leaves_at_once", ("calls sys.exit(0)",)),
    ],
)
def test_a_wrong_model_is_told(measure, model, words):
    refused(measure(model=model), *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("cifar11", ("no data set named 'cifar11'", "did you mean cifar10")),
        ("npz:gone.npz", ("gone.npz",)),
        ("npz:net.py", ("net.py",)),
        ("folder:nowhere", ("nowhere",)),
        ("folder:empty", ("empty",)),
        ("parquet:net.py", ("net.py",)),
        ("empty", ("did you mean folder:empty?",)),
        ("digits", ("gives 2 classes", "digits has 10", "--labels")),
    ],
)
def test_wrong_data_is_told(measure, here, data, words):
    (here / "empty").mkdir()

    refused(measure(data=data), *words)


def folder_of(here, images):
    for place, (name, image) in enumerate(images.items()):
        target = here / "photos" / ("ab"[place % 2]) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            target.write_bytes(image)
        else:
            image.save(target)


def test_a_broken_image_is_named_and_counted_and_not_fatal(measure, here):
    folder_of(
        here,
        {
            "1.png": Image.new("RGB", (40, 40), (9, 9, 9)),
            "2.png": Image.new("RGB", (40, 40), (250, 250, 250)),
            "3.png": b"not a picture",
            "4.jpg": b"",
        },
    )
    result = measure("--json", data="folder:photos")
    row = json.loads(result.stdout.splitlines()[0])
    store = Store.existing(here / "s")

    assert 0 == result.exit_code
    assert (2, 2, ["broken_images"]) == (row["count"], row["broken"], row["flags"])
    assert ["a/3.png", "b/4.jpg"] == sorted(store.broken(store.runs()[0])["name"])


def test_grey_cmyk_palette_and_transparent_images_are_read(measure, here):
    folder_of(
        here,
        {
            "1.png": Image.new("L", (40, 40), 9),
            "2.jpg": Image.new("CMYK", (40, 40), (0, 0, 0, 0)),
            "3.gif": Image.new("P", (40, 40), 0),
            "4.png": Image.new("RGBA", (40, 40), (250, 250, 250, 255)),
        },
    )
    row = json.loads(measure("--json", data="folder:photos").stdout.splitlines()[0])

    assert (4, 0, 1.0) == (row["count"], row["broken"], row["value"])


def test_weights_that_do_not_fit_name_the_first_keys(measure, here):
    torch.save({"gains": torch.tensor(1.0)}, here / "w.pth")

    refused(measure("--weights", "w.pth"), "gain", "gains")


def test_a_pickle_of_more_than_tensors_is_refused(measure, here):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (Path("sprung"),))

    (here / "w.pth").write_bytes(pickle.dumps({"gain": Trap()}))
    torch.save({"gain": torch.tensor(1.0), "extra": Path("x")}, here / "v.pth")

    refused(measure("--weights", "w.pth"), "w.pth")
    refused(measure("--weights", "v.pth"), "safetensors")
    assert not (here / "sprung").exists()


def test_weights_are_loaded_and_unwrapped(measure, here):
    torch.save({"state_dict": {"module.gain": torch.tensor(-40.0)}}, here / "w.pth")
    rows = [
        json.loads(line) for line in measure("--weights", "w.pth", "--json").stdout.splitlines()
    ]

    assert 0.0 == rows[0]["value"]
    assert "net.py:bright@w" == rows[0]["model"]


def test_a_store_of_another_version_is_left_alone(measure, here):
    measure()
    mark = here / "s" / "holdfast-store.json"
    mark.write_text(json.dumps({"format": 99}))

    refused(measure("--perturb", "fog"), "format 99", "another folder")
    assert 99 == json.loads(mark.read_text())["format"]


def test_a_folder_of_other_things_is_not_taken_for_a_store(measure, here):
    (here / "s").mkdir()
    (here / "s" / "thesis.tex").write_text("")

    refused(measure(), "not a holdfast store and not empty")


def test_a_full_disk_loses_nothing_that_was_stored(measure, here, monkeypatch):
    measure()
    before = Store.existing(here / "s").measurements()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_save_npz", full)
        refused(measure("--perturb", "fog(severity=3)"), "is full; finished runs are safe")

    assert before.equals(Store.existing(here / "s").measurements(), null_equal=True)
    assert 0 == measure("--perturb", "fog(severity=3)").exit_code


def test_ctrl_c_ends_with_130_and_the_command_goes_on_later(measure, monkeypatch, here):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_save_npz", interrupted)
        result = measure()

    assert 130 == result.exit_code
    assert "finished runs and images kept so far" in result.stderr
    assert 0 == measure().exit_code


@pytest.mark.parametrize("verb", ["show", "report"])
def test_a_store_that_is_not_there_is_told(cli, verb):
    refused(cli(verb, "nowhere"), "no store at nowhere")


def test_an_empty_store_is_told(cli, here):
    Store(here / "s")

    assert "holds no runs yet" in cli("show", "s").stdout
    refused(cli("report", "s", "-o", "r"), "s")


def test_an_unknown_metric_names_the_nearest(cli, measure):
    measure()

    refused(cli("show", "s", "--conditions", "--metric", "acuracy"), "did you mean accuracy")


def test_debug_shows_the_traceback(measure):
    result = measure("--perturb", "fogg", "--debug")

    assert "no condition named 'fogg'" in str(result.exception)
    assert 1 == result.exit_code


def test_labels_outside_the_classes_are_told(measure, here):
    np.savez(here / "b.npz", x=np.zeros((4, 8, 8, 3), np.uint8), y=np.array([0, 1, -1, 0]))

    refused(measure(data="npz:b.npz"), "-1")


@pytest.mark.parametrize("model", ["net.py:leaves", "net.py:loses_a_file"])
def test_a_model_that_ends_the_program_or_loses_a_file_fails_that_run_alone(measure, model):
    result = measure(
        "--perturb", "gaussian_noise(severity=5)", "--perturb", "contrast", "--json", model=model
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    status = {row["condition"]: row["status"] for row in rows}

    assert 1 == result.exit_code
    assert "failed" == status["gaussian_noise(severity=5)"]
    assert "ok" == status["clean"] == status["contrast(severity=5)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_image_without_permission_is_a_broken_one(measure, here):
    folder_of(here, {f"{i}.png": Image.new("RGB", (40, 40), (9, 9, 9)) for i in range(4)})
    (here / "photos" / "a" / "0.png").chmod(0)
    row = json.loads(measure("--json", data="folder:photos").stdout.splitlines()[0])

    assert (3, 1) == (row["count"], row["broken"])


def test_a_picture_too_long_to_cut_is_a_broken_one(measure, here):
    folder_of(
        here,
        {"1.png": Image.new("RGB", (30000, 2)), "2.png": Image.new("RGB", (40, 40), (250,) * 3)},
    )
    result = measure("--json", "--view", "4096", data="folder:photos")
    row = json.loads(result.stdout.splitlines()[0])

    assert (1, 1) == (row["count"], row["broken"])


def test_a_broken_name_that_is_no_text_is_kept_as_it_can_be(measure, here):
    folder_of(here, {"1.png": Image.new("RGB", (40, 40)), "2.png": Image.new("RGB", (40, 40))})
    Path(os.fsdecode(b"photos/a/\xff\xfe.png")).write_bytes(b"no picture")
    result = measure("--json", data="folder:photos")
    store = Store.existing(here / "s")

    assert 0 == result.exit_code
    assert ["a/\\udcff\\udcfe.png"] == store.broken(store.runs()[0])["name"].to_list()


@pytest.mark.parametrize("file", ["samples.parquet", "measurements.parquet"])
def test_a_damaged_run_is_measured_again(measure, here, file):
    measure()
    (run,) = Store.existing(here / "s").runs()
    (here / "s" / run / file).write_bytes(b"PAR1")
    result = measure()

    assert 0 == result.exit_code
    assert 60 == len(Store.existing(here / "s").samples(run))


@pytest.mark.parametrize("file", ["part.json", "part-000000.npz"])
def test_a_damaged_part_is_measured_again(measure, here, monkeypatch, file):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_write_table", interrupted)
        measure()
    (partial,) = (here / "s").glob("*.partial")
    (partial / file).write_bytes(b"{")

    assert 0 == measure().exit_code


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_among_the_images_is_a_broken_one_and_no_wait(measure, here):
    folder_of(here, {"1.png": Image.new("RGB", (40, 40)), "2.png": Image.new("RGB", (40, 40))})
    os.mkfifo(here / "photos" / "a" / "3.png")
    row = json.loads(measure("--json", data="folder:photos").stdout.splitlines()[0])

    assert (2, 1) == (row["count"], row["broken"])


def test_a_user_without_a_home_is_told(measure):
    refused(measure(data="folder:~nobody-of-this-name/x"), "cannot find the folder")


def test_labels_that_are_no_csv_are_told(measure, here):
    (here / "labels.csv").write_text("a" * 200_000 + ",0")

    refused(measure("--labels", "labels.csv"), "labels.csv")


def test_a_model_that_changes_the_folder_leaves_data_and_store_where_they_are(measure, here):
    result = measure("--perturb", "contrast(severity=1)", "--json", model="net.py:wanders")

    assert 0 == result.exit_code
    assert 2 == len(Store.existing(here / "s").runs())
