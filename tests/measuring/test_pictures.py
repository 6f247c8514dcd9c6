"""A few perturbed images are kept with a run, the same ones in any order."""

import io

import numpy as np
import torch
from PIL import Image

from helpers import pictures
from holdfast.measuring.pictures import Pictures
from holdfast.perturb.base import Outcome
from holdfast.records import PICTURE_COLUMNS, Store
from measuring.attacked import COUNT, WEAK, attacked, measure, row

CLEAN = torch.from_numpy(pictures(30)).permute(0, 3, 1, 2).float() / 255
PERTURBED = (CLEAN + 0.1).clamp(0, 1)
LABELS = torch.arange(30) % 4
LOGITS = torch.nn.functional.one_hot((LABELS + 1) % 4, 4).float()
NORMS = torch.where(torch.arange(30) % 5 == 0, 0.0, 0.1)  # 0: wrong from the start
NORMS[1] = torch.nan  # stands


def outcome(rows):
    rows = torch.tensor(rows)
    ones = torch.ones_like(rows)
    return Outcome(
        rows, LABELS[rows], PERTURBED[rows], LOGITS[rows], ones, ones,
        extra={"norm": NORMS[rows]}, originals=CLEAN[rows],
    )  # fmt: skip


def collected(*groups):
    found = Pictures()
    for rows in groups:
        found.add(outcome(rows))
    return found


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def test_those_with_the_smallest_ids_that_changed_are_kept():
    expected = [id_ for id_ in range(30) if NORMS[id_] > 0][:12]

    assert expected == collected(range(30)).table()["id"].to_list()


def test_the_order_of_arrival_does_not_matter():
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    mixed = collected(rows[:7], rows[7:8], rows[8:])

    assert collected(range(30)).table().equals(mixed.table())


def test_parts_merge_to_the_whole():
    merged = collected(range(15, 30))
    merged.merge(Pictures.from_arrays(collected(range(15)).to_arrays()))

    assert collected(range(30)).table().equals(merged.table())


def test_pictures_show_clean_and_perturbed_pixels():
    first = collected(range(30)).table().row(0, named=True)
    image = CLEAN[first["id"]].permute(1, 2, 0)
    clean, difference, perturbed = (
        opened(png) for name, png in first.items() if isinstance(png, bytes)
    )

    assert np.array_equal((image * 255).round().numpy(), clean)
    assert np.abs(((image + 0.1).clamp(0, 1) * 255).numpy() - perturbed).max() <= 0.5
    assert 255 == difference.max()
    assert 127 <= difference.min()  # nothing became darker


def test_a_picture_tells_label_prediction_and_norm():
    first = collected(range(30)).table().row(0, named=True)

    assert list(PICTURE_COLUMNS) == list(first)
    assert {2, 3} <= {value for value in first.values() if isinstance(value, int)}
    assert any(isinstance(value, float) and abs(value - 0.1) < 1e-6 for value in first.values())


def test_large_images_are_shown_smaller():
    wide = torch.rand(1, 3, 300, 600, generator=torch.Generator().manual_seed(0))
    one = Outcome(
        torch.tensor([4]), torch.tensor([0]), (wide + 0.01).clamp(0, 1), torch.eye(2)[1:],
        torch.ones(1), torch.ones(1), extra={"norm": torch.tensor([0.01])}, originals=wide,
    )  # fmt: skip
    found = Pictures()
    found.add(one)
    png = next(value for value in found.table().row(0) if isinstance(value, bytes))

    assert (128, 256, 3) == opened(png).shape


def test_gray_images_stay_gray():
    gray = CLEAN[2:3, :1]
    one = Outcome(
        torch.tensor([4]), torch.tensor([0]), (gray + 0.1).clamp(0, 1), torch.eye(2)[1:],
        torch.ones(1), torch.ones(1), extra={"norm": torch.tensor([0.1])}, originals=gray,
    )  # fmt: skip
    found = Pictures()
    found.add(one)
    png = next(value for value in found.table().row(0) if isinstance(value, bytes))

    assert (32, 32) == opened(png).shape


def test_what_carries_no_originals_leaves_no_picture():
    found = Pictures()
    one = outcome([2, 3])
    found.add(Outcome(one.ids, one.labels, one.images, one.logits, one.ids, one.ids))

    assert found.table().is_empty()


def test_a_measured_attack_keeps_pictures_of_the_fallen(tmp_path):
    results = measure(WEAK, store=tmp_path / "s")
    fallen = attacked(results).filter(broken_by="pgd")
    table = Store(tmp_path / "s").pictures(row(results)["run_id"])

    assert fallen["id"].head(12).to_list() == table["id"].to_list()
    assert 0 < len(table) < COUNT


def test_pictures_do_not_depend_on_the_batch_size(tmp_path):
    tables = []
    for size in (3, 24):
        results = measure("fgsm(eps=0.02)", store=tmp_path / str(size), batch_size=size)
        tables.append(Store(tmp_path / str(size)).pictures(row(results)["run_id"]))

    assert tables[0]["id"].equals(tables[1]["id"])


def test_a_clean_run_has_no_pictures(tmp_path):
    results = measure(WEAK, store=tmp_path / "s")

    assert Store(tmp_path / "s").pictures(row(results, 0)["run_id"]).is_empty()
