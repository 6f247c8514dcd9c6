"""Images without labels, in a folder of any depth."""

import numpy as np
import pytest
from PIL import Image

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data import open_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
PLACES = ("a.png", "b/c/d.PNG", "b/e.bmp", "z.png")


@pytest.fixture
def folder(tmp_path):
    for place, pixels in zip(PLACES, PIXELS, strict=True):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_are_found_at_any_depth_and_nothing_else(folder):
    found = list(open_dataset(f"images:{folder}", split="train").read())

    assert PLACES == tuple(one.name for one in found)
    assert all(np.array_equal(a, one.image) for a, one in zip(PIXELS, found, strict=True))


def test_all_are_of_one_class(folder):
    found = open_dataset(f"images:{folder}", split="train")

    assert ("unlabeled",) == found.classes
    assert {0} == {one.label for one in found.read()}


def test_the_split_is_a_word(folder):
    one, other = (open_dataset(f"images:{folder}", split=name) for name in ("train", "test"))

    assert "train" == one.split
    assert "test" == other.split
    assert one.fingerprint() == other.fingerprint()


def test_labels_are_refused(folder):
    with pytest.raises(BadValueError, match="labels"):
        open_dataset(f"images:{folder}", split="train", labels=f"{folder}/notes.txt")


def test_a_folder_that_is_not_there_or_empty_is_missing(tmp_path):
    with pytest.raises(MissingError, match="does not exist; write images:DIR"):
        open_dataset(f"images:{tmp_path}/nowhere", split="train")
    with pytest.raises(MissingError, match=r"no images in .*, with extensions such as .jpg"):
        open_dataset(f"images:{tmp_path}", split="train")
    with pytest.raises(BadValueError, match="images:DIR"):
        open_dataset("images:", split="train")
