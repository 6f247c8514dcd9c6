import io
import zipfile

import numpy as np
import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.core.identity import digest_file
from holdfast.data import OpenClasses, open_dataset

X = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3), dtype=np.uint8)
Y = np.arange(30) % 7


def npz_set(path, **options):
    return open_dataset(f"npz:{path}", split="test", **options)


def saved(folder, save=np.savez, **arrays):
    path = folder / "set.npz"
    save(path, **({"x": X, "y": Y} | arrays))
    return path


def refusal(path, error=BadValueError, **options):
    with pytest.raises(error) as caught:
        npz_set(path, **options)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_bit_for_bit(tmp_path, save):
    samples = list(npz_set(saved(tmp_path, save)).read())

    assert np.array_equal(X, np.stack([sample.image for sample in samples]))
    assert Y.tolist() == [sample.label for sample in samples]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chosen_rows_are_those_rows(tmp_path, save):
    samples = list(npz_set(saved(tmp_path, save)).read([2, 3, 17, 29]))

    assert np.array_equal(X[[2, 3, 17, 29]], np.stack([sample.image for sample in samples]))
    assert "row 17" == samples[2].name


@pytest.mark.parametrize("gray", [X[..., 0], X[..., :1]])
def test_gray_is_repeated_to_three_channels(tmp_path, gray):
    sample = next(npz_set(saved(tmp_path, x=gray)).read([4]))

    assert np.array_equal(np.repeat(X[4, ..., :1], 3, axis=2), sample.image)


@pytest.mark.parametrize("y", [Y.astype(np.uint8), Y.astype(">i8"), Y[:, None]])
def test_labels_of_any_whole_type_and_in_a_column_are_read(tmp_path, y):
    dataset = npz_set(saved(tmp_path, y=y))

    assert Y.tolist() == [sample.label for sample in dataset.read()]


def test_classes_are_numbers_up_to_the_largest_label(tmp_path):
    assert tuple("0123456") == npz_set(saved(tmp_path)).classes


def test_labels_name_the_classes(tmp_path):
    labels = tmp_path / "names.txt"
    labels.write_text("\n".join("abcdefghi"))

    assert tuple("abcdefghi") == npz_set(saved(tmp_path), labels=labels).classes


def test_the_fingerprint_is_the_sha256_of_the_file(tmp_path):
    path = saved(tmp_path)

    assert digest_file(path) == npz_set(path).fingerprint()


def test_the_images_may_be_written_to(tmp_path):
    sample = next(npz_set(saved(tmp_path)).read())

    assert sample.image.flags.writeable


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X / 255}, "expected uint8 [N, H, W, 3] or [N, H, W], got x float64 [30, 5, 4, 3]"),
        ({"x": X.transpose(0, 3, 1, 2).copy()}, "channels come last: x.transpose(0, 2, 3, 1)"),
        ({"x": np.repeat(X, 2, axis=3)}, "keep one channel (gray) or three (RGB)"),
        ({"x": X[0, 0]}, "keep one channel (gray) or three (RGB)"),
        ({"x": X[:0], "y": Y[:0]}, "there are no images in it"),
        ({"x": np.asfortranarray(X)}, "Fortran order; store numpy.ascontiguousarray(x)"),
        ({"x": X[:9]}, "one label an image, got x uint8 [9, 5, 4, 3] and y int64 [30]"),
        ({"y": Y / 1}, "expected one whole number an image, y [30], got y float64 [30]"),
        ({"y": np.eye(7)[Y]}, "expected one whole number an image, y [30], got y float64 [30, 7]"),
        ({"y": Y - 1}, "y must be in 0..99999, got -1 in row 0 (labels of -1 are withheld ones)"),
        ({"y": Y.astype(object)}, "y holds Python objects, not numbers; store an array"),
        ({"x": X.astype(object)}, "x holds Python objects, not numbers; store an array"),
    ],
)
def test_arrays_that_cannot_be_used_say_why(tmp_path, arrays, message):
    text = refusal(saved(tmp_path, **arrays))

    assert text.startswith("FILE: ")
    assert message in text


def test_more_classes_than_labels_name_are_refused(tmp_path):
    labels = tmp_path / "names.txt"
    labels.write_text("a\nb\n")

    message = refusal(saved(tmp_path), labels=labels)

    assert "FILE: y must be in 0..1, got 2 in row 2 (classes count from 0)" == message


def test_missing_arrays_are_named_with_those_found(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=X, labels=Y)

    expected = (
        "FILE must hold the arrays x and y, found images, labels; name them so in numpy.savez"
    )
    assert expected == refusal(path)


def test_a_pickle_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    bomb = np.empty(30, dtype=object)
    bomb[:] = [Bomb() for _ in range(30)]
    refusal(saved(tmp_path, y=bomb))

    assert not (tmp_path / "ran").exists()


def test_another_kind_of_file_is_not_an_archive(tmp_path):
    path = tmp_path / "set.npz"
    with path.open("wb") as file:
        np.save(file, X)

    assert refusal(path).startswith("FILE is not an .npz archive (File is not a zip file); write")


def test_a_file_that_is_not_there_is_missing(tmp_path):
    assert "no file FILE; check the path" == refusal(tmp_path / "none.npz", MissingError)


def test_no_path_at_all_says_what_to_write():
    with pytest.raises(BadValueError, match="'npz' does not say where the images are; write npz:F"):
        open_dataset("npz", split="test")


def test_a_header_that_promises_too_much_is_damage(tmp_path):
    body = io.BytesIO()
    np.save(body, X)
    lie = body.getvalue().replace(b"(30, 5, 4, 3)", b"(90, 5, 4, 3)")
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", lie)
        archive.writestr("y.npy", b"")

    assert "array x cannot be read (its size is not what its header says)" in refusal(path)


def test_a_member_that_is_no_array_is_damage(tmp_path):
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not an array at all")
        archive.writestr("y.npy", b"")

    assert refusal(path).startswith("FILE: the array x cannot be read (")


def test_damage_within_the_images_stops_with_an_error_that_names_the_file(tmp_path):
    path = saved(tmp_path, np.savez_compressed)
    body = bytearray(path.read_bytes())
    body[900:1000] = bytes(100)
    path.write_bytes(body)

    with pytest.raises(BadValueError, match=r"the array x cannot be read .*; copy or save it anew"):
        list(npz_set(path).read())


def test_a_model_may_have_more_classes_than_a_file_without_names(tmp_path):
    assert isinstance(npz_set(saved(tmp_path)).classes, OpenClasses)


def test_named_classes_are_all_there_are(tmp_path):
    labels = tmp_path / "names.txt"
    labels.write_text("\n".join("abcdefghi"))

    assert not isinstance(npz_set(saved(tmp_path), labels=labels).classes, OpenClasses)
