"""Laws that every data set keeps, whatever it is read from."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from holdfast.core.errors import BadValueError
from holdfast.data import DATASETS, Broken, Dataset, Sample, open_dataset

COUNT = 12
X = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3), dtype=np.uint8)
Y = np.arange(COUNT) % 3


def png(pixels):
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return body.getvalue()


def npz(folder):
    np.savez(folder / "set.npz", x=X, y=Y)
    return f"npz:{folder}/set.npz"


def parquet(folder):
    body = [b"broken" if place == 4 else png(pixels) for place, pixels in enumerate(X)]
    pq.write_table(pa.table({"image": body, "label": Y}), folder / "set.parquet", row_group_size=5)
    return f"parquet:{folder}/set.parquet"


def photos(folder):
    for place, label in enumerate(Y):
        path = folder / f"class{label}" / f"{place:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"broken" if place == 4 else png(X[place]))
    return f"folder:{folder}"


def unlabelled(folder):
    for place, pixels in enumerate(X):
        path = folder / f"part{place % 2}" / "deeper" / f"{place:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"broken" if place == 4 else png(pixels))
    return f"images:{folder}"


BUILD = {
    "digits": lambda folder: "digits",
    "folder": photos,
    "images": unlabelled,
    "npz": npz,
    "parquet": parquet,
}
DOWNLOADED = {  # their readers: test_named and test_fine_tuning_sets
    "aircraft",
    "caltech101",
    "cars",
    "cifar10",
    "cifar100",
    "flowers102",
    "imagenet",
    "pathmnist",
    "pets",
    "ucmerced",
}


@pytest.fixture(params=BUILD)
def build(request):
    return BUILD[request.param]


@pytest.fixture
def dataset(build, tmp_path):
    return open_dataset(build(tmp_path), split="test")


def same(one, other):
    if isinstance(one, Broken) or isinstance(other, Broken):
        return one == other
    return (one.id, one.name, one.label) == (other.id, other.name, other.label) and np.array_equal(
        one.image, other.image
    )


def test_every_data_set_is_tested():
    assert set(DATASETS) == DOWNLOADED | set(BUILD)


def test_it_is_a_dataset(dataset):
    assert isinstance(dataset, Dataset)


def test_every_position_is_read_once_in_order(dataset):
    assert list(range(len(dataset))) == [sample.id for sample in dataset.read()]


def test_images_are_rgb_bytes_that_may_be_written_to(dataset):
    for sample in dataset.read():
        if isinstance(sample, Sample):
            assert (np.uint8, 3, 3) == (
                sample.image.dtype,
                sample.image.ndim,
                sample.image.shape[2],
            )
            assert sample.image.flags.writeable and sample.image.flags.c_contiguous


def test_labels_are_within_the_classes(dataset):
    labels = {sample.label for sample in dataset.read() if isinstance(sample, Sample)}

    assert labels == set(range(len(dataset.classes)))
    assert {int} == {type(label) for label in labels}


def test_names_are_unique(dataset):
    assert len(dataset) == len({sample.name for sample in dataset.read()})


def test_chosen_positions_are_those_of_the_whole(dataset):
    whole = list(dataset.read())
    ids = [1, 4, 5, 11]

    chosen = list(dataset.read(ids))

    assert len(ids) == len(chosen)
    assert all(same(whole[place], sample) for place, sample in zip(ids, chosen, strict=True))


def test_positions_may_come_as_an_array(dataset):
    assert [2, 7] == [sample.id for sample in dataset.read(np.array([2, 7]))]


def test_no_positions_read_nothing(dataset):
    assert [] == list(dataset.read([]))


def test_reading_twice_gives_the_same(dataset):
    assert all(same(one, two) for one, two in zip(dataset.read(), dataset.read(), strict=True))


@pytest.mark.parametrize("ids", [[3, 2], [2, 2]])
def test_positions_that_do_not_rise_are_refused_at_once(dataset, ids):
    with pytest.raises(BadValueError, match="ids must rise strictly, each once; sort them and dro"):
        dataset.read(ids)


@pytest.mark.parametrize("ids", [[-1], [0, 10_000]])
def test_positions_outside_are_refused_at_once(dataset, ids):
    with pytest.raises(BadValueError, match=r"ids must be in 0\.\.\d+, got"):
        dataset.read(ids)


def test_the_fingerprint_is_64_digits_and_stays(dataset):
    assert 64 == len(dataset.fingerprint()) == len(bytes.fromhex(dataset.fingerprint())) * 2
    assert dataset.fingerprint() == dataset.fingerprint()


def test_the_fingerprint_does_not_depend_on_place_or_name(build, tmp_path):
    digests = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        digests.add(open_dataset(build(tmp_path / name), split="test").fingerprint())

    assert 1 == len(digests)


def test_the_name_is_what_was_typed(build, tmp_path):
    spec = build(tmp_path)

    assert spec == open_dataset(f" {spec} ", split="test").name


def test_one_broken_image_is_named_and_the_others_are_read(build, tmp_path):
    if build not in (photos, parquet, unlabelled):
        pytest.skip("its images are not encoded, so one cannot break alone")

    read = list(open_dataset(build(tmp_path), split="test").read())

    (broken,) = [item for item in read if isinstance(item, Broken)]
    assert broken.name in ("class1/04.png", "row 4", "part0/deeper/04.png")
    assert broken.reason.startswith("not a picture in JPEG")
    assert COUNT - 1 == sum(isinstance(item, Sample) for item in read)
