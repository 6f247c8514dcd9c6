"""The sets of the fine-tuning work, laid out as their publishers do; torchvision is the judge."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data import Sample, caltech101, cars, open_dataset, ucmerced
from holdfast.data._shares import SPLITS, within_official, within_whole

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens
NAMES = ["aircraft", "caltech101", "cars", "flowers102", "ucmerced"]
CAR_CLASSES = tuple(f"model {number}" for number in range(4))


def picture(color=(0, 0, 0), kind="JPEG"):
    body = io.BytesIO()
    Image.new("RGB", (5, 4), color).save(body, kind)
    return body.getvalue()


@pytest.fixture
def aircraft(tmp_path):
    data = tmp_path / "aircraft" / "fgvc-aircraft-2013b" / "data"
    (data / "images").mkdir(parents=True)
    variants = ["707-320", "Boeing 717", "A300B4"]
    (data / "variants.txt").write_text("".join(f"{name}\n" for name in variants))
    number, lines = 0, {}
    for part, count in (("train", 4), ("val", 3), ("test", 5)):
        for variant in variants:
            for _ in range(count):
                name = f"{number:07d}"
                (data / "images" / f"{name}.jpg").write_bytes(picture())
                lines.setdefault(part, []).append(f"{name} {variant}\n")
                number += 1
    lines["trainval"] = [*lines["train"], *lines["val"]]
    for part, rows in lines.items():
        (data / f"images_variant_{part}.txt").write_text("".join(rows))
    return data


@pytest.fixture
def flowers102(tmp_path):
    home = tmp_path / "flowers102" / "flowers-102"
    (home / "jpg").mkdir(parents=True)
    for number in range(1, 13):
        (home / "jpg" / f"image_{number:05d}.jpg").write_bytes(picture())
    labels = np.array([1, 102, 3, 3, 1, 102, 3, 1, 102, 1, 3, 102], dtype=np.uint8)
    savemat(home / "imagelabels.mat", {"labels": labels})
    sets = {"trnid": [7, 2, 1], "valid": [4, 6, 5], "tstid": [12, 3, 8, 9, 10, 11]}
    savemat(home / "setid.mat", {k: np.array(v, dtype=np.uint16) for k, v in sets.items()})
    return home


@pytest.fixture
def categories(tmp_path, monkeypatch):
    """Caltech 101 with three classes."""
    monkeypatch.setattr(caltech101, "CLASSES", 3)
    monkeypatch.setattr(caltech101, "COUNT", 60)
    home = tmp_path / "caltech101" / "caltech101" / "101_ObjectCategories"
    for name, count in (("BACKGROUND_Google", 3), ("Faces", 20), ("accordion", 30), ("ant", 10)):
        (home / name).mkdir(parents=True)
        for number in range(1, count + 1):
            (home / name / f"image_{number:04d}.jpg").write_bytes(picture())
    return home


def land_use(path, classes=("agricultural", "beach"), count=10):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("UCMerced_LandUse/readme.txt", "not an image")
        archive.writestr(f"__MACOSX/Images/{classes[0]}/._a.tif", "what an archiver adds")
        for name in classes:
            for number in range(count):
                member = f"UCMerced_LandUse/Images/{name}/{name}{number:02d}.tif"
                archive.writestr(member, picture((number, 0, 0), "TIFF"))
        archive.writestr(f"Elsewhere/Images/{classes[0]}/a.tif", picture(kind="TIFF"))


@pytest.fixture
def merced(tmp_path, monkeypatch):
    """UC Merced's archive with two classes of ten."""
    home = tmp_path / "ucmerced"
    home.mkdir()
    land_use(home / "UCMerced_LandUse.zip")
    monkeypatch.setattr(ucmerced, "CLASSES", 2)
    monkeypatch.setattr(ucmerced, "COUNT", 20)
    checksum = ucmerced.ARCHIVE._checksum_of(home / "UCMerced_LandUse.zip")
    monkeypatch.setattr(ucmerced, "ARCHIVE", replace(ucmerced.ARCHIVE, checksum=checksum))
    return home


def car_file(path, labels, classes=CAR_CLASSES, first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"bytes": picture((row, 0, 0), "PNG"), "path": None}
        for row in range(first, first + len(labels))
    ]
    stated = {"info": {"features": {"label": {"names": list(classes)}}}}
    table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
    table = table.replace_schema_metadata({"huggingface": json.dumps(stated)})
    pq.write_table(table, path, row_group_size=3)


CAR_LABELS = {"trainval": [np.arange(22) % 4, np.arange(18) % 4], "test": [[0, 1, 2], [3, 0]]}


@pytest.fixture
def garage(tmp_path, monkeypatch):
    """Stanford Cars with four classes, two files a split."""
    monkeypatch.setattr(cars, "CLASSES", 4)
    monkeypatch.setattr(cars, "ROWS", {"trainval": 40, "test": 5})
    for part, rows in CAR_LABELS.items():
        first = 0
        for file, labels in zip(cars.FILES.files[part], rows, strict=True):
            car_file(tmp_path / "cars" / file, labels, first=first)
            first += len(labels)
    return tmp_path / "cars" / "data"


@pytest.fixture
def every(aircraft, flowers102, categories, merced, garage, tmp_path):
    """All five, under one root."""
    return tmp_path


# --- what they share ---


@pytest.mark.parametrize("name", NAMES)
def test_train_and_validation_divide_trainval(name, every):
    whole, train, validation = (
        list(open_dataset(name, split=split, root=every).read())
        for split in ("trainval", "train", "validation")
    )

    assert sorted(s.name for s in whole) == sorted(s.name for s in [*train, *validation])
    assert train and validation


@pytest.mark.parametrize("name", NAMES)
def test_test_images_are_no_training_images(name, every):
    test, trainval = (
        {sample.name for sample in open_dataset(name, split=split, root=every).read()}
        for split in ("test", "trainval")
    )

    assert test and (name == "cars" or not test & trainval)  # rows are counted in each split


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_reads_its_positions_in_order(name, split, every):
    dataset = open_dataset(name, split=split, root=every)
    read = list(dataset.read())

    assert all(isinstance(sample, Sample) for sample in read)
    assert list(range(len(dataset))) == [sample.id for sample in read]
    assert (name, split) == (dataset.name, dataset.split)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_test_split_is_kept_whole(name, every):
    whole, fewer = (open_dataset(name, split=s, root=every) for s in ("test", "test1000"))

    assert [s.name for s in whole.read()] == [s.name for s in fewer.read()]


@pytest.mark.parametrize("name", NAMES)
def test_val_is_validation(name, every):
    assert "validation" == open_dataset(name, split="val", root=every).split


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_split_names_the_known_ones(name, tmp_path):
    with pytest.raises(BadValueError, match=f"{name} has no split 'holdout'; it has trainval, tr"):
        open_dataset(name, split="holdout", root=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_arguments_are_refused(name, tmp_path):
    with pytest.raises(BadValueError, match=f"{name} knows its own classes, got labels="):
        open_dataset(name, split="test", labels="imagenet", root=tmp_path)
    with pytest.raises(BadValueError, match=f"{name} takes nothing after its name"):
        open_dataset(f"{name}:x", split="test", root=tmp_path)


# --- the shares ---

LABELS = np.repeat(np.arange(10), 300)


@pytest.mark.parametrize(
    ("split", "count"),
    [("trainval", 3000), ("train", 2550), ("validation", 450), ("test", 3000), ("test1000", 1000)],
)
def test_shares_of_an_official_part_are_stratified(split, count):
    chosen = within_official(LABELS, split)

    assert [count // 10] * 10 == np.bincount(LABELS[chosen]).tolist()
    assert np.all(np.diff(chosen) > 0)


@pytest.mark.parametrize(
    ("split", "count"),
    [("trainval", 2400), ("train", 2040), ("validation", 360), ("test", 600), ("test1000", 600)],
)
def test_shares_of_a_whole_set_are_stratified(split, count):
    chosen = within_whole(LABELS, split)

    assert [count // 10] * 10 == np.bincount(LABELS[chosen]).tolist()
    assert np.all(np.diff(chosen) > 0)


def test_a_whole_set_is_divided_without_repeats_or_losses():
    parts = [within_whole(LABELS, split) for split in ("train", "validation", "test")]

    assert list(range(3000)) == np.sort(np.concatenate(parts)).tolist()


def test_the_division_does_not_change_between_versions():
    digits = [within_official(LABELS, s)[:5].tolist() for s in ("validation", "test1000")]

    assert GOLDEN == digits


GOLDEN = [[1, 4, 16, 18, 21], [2, 4, 5, 6, 8]]


# --- aircraft ---


@pytest.mark.parametrize(
    ("split", "theirs"), [("train", "train"), ("val", "val"), ("trainval",) * 2, ("test",) * 2]
)
def test_the_aircraft_are_those_of_torchvision(split, theirs, aircraft, tmp_path):
    from torchvision.datasets import FGVCAircraft  # noqa: PLC0415 - takes seconds

    dataset = open_dataset("aircraft", split=split, root=tmp_path)
    judge = FGVCAircraft(tmp_path / "aircraft", split=theirs)

    assert judge._labels == dataset.labels.tolist()
    assert judge._image_files == [str(dataset.folder / file) for file in dataset.files]
    assert tuple(judge.classes) == dataset.classes


def test_an_unknown_variant_is_named(aircraft, tmp_path):
    (aircraft / "images_variant_test.txt").write_text("0000001 Concorde\n")

    with pytest.raises(BadValueError, match=r"variant 'Concorde', which variants\.txt lacks"):
        open_dataset("aircraft", split="test", root=tmp_path)


def test_aircraft_that_lack_images_name_them(aircraft, tmp_path):
    (aircraft / "images" / "0000001.jpg").unlink()

    with pytest.raises(MissingError, match=r"lacks '0000001.jpg'; delete .* and try again"):
        open_dataset("aircraft", split="trainval", root=tmp_path)


def test_aircraft_that_cannot_be_fetched_say_where_to_put_them(tmp_path, monkeypatch):
    from torchvision.datasets import FGVCAircraft  # noqa: PLC0415 - takes seconds

    monkeypatch.setattr(FGVCAircraft, "_URL", f"{NOWHERE}/fgvc-aircraft-2013b.tar.gz")

    with pytest.raises(MissingError, match=f"elsewhere and unpack it into {tmp_path}/aircraft$"):
        open_dataset("aircraft", split="test", root=tmp_path)


# --- flowers102 ---


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_flowers_are_those_of_torchvision(split, flowers102, tmp_path, monkeypatch):
    from torchvision.datasets import Flowers102  # noqa: PLC0415 - takes seconds

    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    dataset = open_dataset("flowers102", split=split, root=tmp_path)
    judge = Flowers102(tmp_path / "flowers102", split=split)

    assert judge._labels == dataset.labels.tolist()
    assert judge._image_files == [dataset.folder / file for file in dataset.files]
    assert ("pink primrose", "blackberry lily") == (dataset.classes[0], dataset.classes[-1])


@pytest.mark.parametrize(
    ("file", "body", "message"),
    [
        ("setid.mat", {"other": [1]}, "must hold trnid, valid and tstid"),
        ("setid.mat", {"tstid": [99], "trnid": [1], "valid": [2]}, "a label for each image"),
        ("imagelabels.mat", {"labels": [103] * 12}, r"labels in 1\.\.102"),
        ("imagelabels.mat", None, "cannot be read"),
    ],
    ids=str,
)
def test_a_damaged_list_of_flowers_is_named(file, body, message, flowers102, tmp_path):
    if body is None:
        (flowers102 / file).write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    else:
        savemat(flowers102 / file, body)

    with pytest.raises(BadValueError, match=f"{file}.*{message}|{message}"):
        open_dataset("flowers102", split="test", root=tmp_path)


def test_flowers_that_cannot_be_fetched_say_where_to_put_them(tmp_path, monkeypatch):
    from torchvision.datasets import Flowers102  # noqa: PLC0415 - takes seconds

    monkeypatch.setattr(Flowers102, "_download_url_prefix", f"{NOWHERE}/")

    with pytest.raises(MissingError, match=f"unpack the first into {tmp_path}/flowers102/flowers-"):
        open_dataset("flowers102", split="test", root=tmp_path)


# --- caltech101 ---


def test_the_categories_are_those_of_torchvision(categories, tmp_path):
    from torchvision.datasets import Caltech101  # noqa: PLC0415 - takes seconds

    judge = Caltech101(tmp_path / "caltech101")
    theirs = {
        (f"{judge.categories[label]}/image_{index:04d}.jpg", label)
        for index, label in zip(judge.index, judge.y, strict=True)
    }
    ours = set()
    for split in ("train", "validation", "test"):
        dataset = open_dataset("caltech101", split=split, root=tmp_path)
        ours |= set(zip(dataset.files, dataset.labels.tolist(), strict=True))

    assert theirs == ours
    assert tuple(judge.categories) == dataset.classes


def test_an_archive_unpacked_in_part_is_noticed(categories, tmp_path):
    (categories / "ant" / "image_0001.jpg").unlink()

    with pytest.raises(BadValueError, match=r"expected 60 images in .*, found 59; delete it"):
        open_dataset("caltech101", split="test", root=tmp_path)


def test_a_missing_category_is_noticed(categories, tmp_path):
    (categories / "ant").rename(categories / ".ant")

    with pytest.raises(BadValueError, match=r"expected 3 folders of images in .*, found 2"):
        open_dataset("caltech101", split="test", root=tmp_path)


def test_categories_that_cannot_be_fetched_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.caltech.download_and_extract_archive", _no_route)

    with pytest.raises(MissingError, match=f"into {tmp_path}/caltech101/caltech101$"):
        open_dataset("caltech101", split="test", root=tmp_path)


def _no_route(*_, **__):
    raise OSError("no route")


# --- ucmerced ---


def test_the_archive_of_merced_is_unpacked_and_read(merced, tmp_path):
    dataset = open_dataset("ucmerced", split="trainval", root=tmp_path)
    sample = next(dataset.read())

    assert ("agricultural", "beach") == dataset.classes
    assert (16, [8, 8]) == (len(dataset), np.bincount(dataset.labels).tolist())
    number = int(sample.name[-6:-4])
    assert (number, 0, 0) == tuple(sample.image[0, 0])
    assert ["Images"] == [path.name for path in (merced / "UCMerced_LandUse").iterdir()]


def test_images_of_merced_need_no_archive(merced, tmp_path):
    open_dataset("ucmerced", split="test", root=tmp_path)
    (merced / "UCMerced_LandUse.zip").unlink()

    assert 4 == len(open_dataset("ucmerced", split="test", root=tmp_path))


@pytest.mark.parametrize(
    ("classes", "count", "message"),
    [(("a", "b"), 9, "expected 20 images"), (("a", "b", "c", "d"), 5, "expected 2 folders")],
    ids=str,
)
def test_another_archive_of_merced_is_noticed(
    classes, count, message, merced, tmp_path, monkeypatch
):
    path = merced / "UCMerced_LandUse.zip"
    land_use(path, classes, count)
    checksum = ucmerced.ARCHIVE._checksum_of(path)
    monkeypatch.setattr(ucmerced, "ARCHIVE", replace(ucmerced.ARCHIVE, checksum=checksum))

    with pytest.raises(BadValueError, match=message):
        open_dataset("ucmerced", split="test", root=tmp_path)


def test_a_damaged_archive_of_merced_leaves_nothing_behind(merced, tmp_path, monkeypatch):
    path = merced / "UCMerced_LandUse.zip"
    body = bytearray(path.read_bytes())
    place = body.index(b"II*\0") + 8  # in the first picture
    body[place] ^= 255
    path.write_bytes(body)
    checksum = ucmerced.ARCHIVE._checksum_of(path)
    monkeypatch.setattr(ucmerced, "ARCHIVE", replace(ucmerced.ARCHIVE, checksum=checksum))

    with pytest.raises(BadValueError, match=r"is damaged or no zip archive .*delete it"):
        open_dataset("ucmerced", split="test", root=tmp_path)
    assert ["UCMerced_LandUse.zip"] == [p.name for p in merced.rglob("*") if p.is_file()]


def test_merced_that_cannot_be_fetched_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ucmerced, "ARCHIVE", replace(ucmerced.ARCHIVE, url=f"{NOWHERE}/a.zip"))

    with pytest.raises(MissingError, match=r"fetch .*a\.zip elsewhere \(md5 5b7e.*put it there"):
        open_dataset("ucmerced", split="test", root=tmp_path)


# --- cars ---


def test_rows_of_both_files_are_counted_through(garage, tmp_path):
    dataset = open_dataset("cars", split="test", root=tmp_path)
    read = list(dataset.read([1, 3, 4]))

    assert [(1, "row 1", 1), (3, "row 3", 3), (4, "row 4", 0)] == [
        (sample.id, sample.name, sample.label) for sample in read
    ]
    assert [1, 3, 4] == [int(sample.image[0, 0, 0]) for sample in read]
    assert CAR_CLASSES == dataset.classes


def test_chosen_rows_keep_their_images_and_labels(garage, tmp_path):
    dataset = open_dataset("cars", split="validation", root=tmp_path)
    read = list(dataset.read())
    labels = np.concatenate(CAR_LABELS["trainval"])

    assert 6 == len(read) == len(dataset)
    assert dataset.places.tolist() == [int(sample.image[0, 0, 0]) for sample in read]
    assert labels[dataset.places].tolist() == [sample.label for sample in read]


def test_splits_of_the_cars_have_fingerprints_of_their_own(garage, tmp_path):
    digests = {open_dataset("cars", split=s, root=tmp_path).fingerprint() for s in SPLITS[:4]}

    assert 4 == len(digests)


def test_cars_refuse_positions_at_once(garage, tmp_path):
    with pytest.raises(BadValueError, match="ids must rise strictly"):
        open_dataset("cars", split="test", root=tmp_path).read([2, 1])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [([3], CAR_CLASSES, "expected 5 rows"), ([3, 0], tuple("abcd"), "4 classes, the same in each")],
    ids=str,
)
def test_another_file_of_cars_is_noticed(labels, classes, message, garage, tmp_path):
    car_file(garage / "test-00001-of-00002.parquet", labels, classes)

    with pytest.raises(BadValueError, match=message):
        open_dataset("cars", split="test", root=tmp_path)


@pytest.mark.parametrize("offline", [True, False])
def test_cars_that_cannot_be_fetched_say_where_to_put_them(offline, tmp_path, monkeypatch):
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    reason = "HF_HUB_OFFLINE is set" if offline else "refused"
    message = f"cars/data/test-00000-of-00002.parquet is not there .*{reason}.* revision 9abf6cf7"

    with pytest.raises(MissingError, match=message.replace(" revision", r"\(revision")):
        open_dataset("cars", split="test", root=tmp_path)
