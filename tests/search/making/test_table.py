import json

import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from holdfast.core.errors import BadValueError, MissingError
from holdfast.measuring import measure
from holdfast.models.cost import count_parameters
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.perturb.base import Batch
from holdfast.perturb.conditions import parse_conditions
from holdfast.search.making.__main__ import main
from holdfast.search.making.cells import SPACE, representative, representatives
from holdfast.search.making.checking import differences
from holdfast.search.making.inputs import Pooled, corrupted, digits, pooled
from holdfast.search.making.measure import Laboratory, Setting
from holdfast.search.making.stack import CONV, SKIP, Size, Stack
from holdfast.search.making.table import Making, blocks
from holdfast.search.making.training import Recipe, train

TINY = Setting(
    size=Size(channels=4),
    recipes=(("plain", Recipe(epochs=1)), ("adversarial", Recipe(epochs=1, eps=0.1, steps=1))),
    conditions=("gaussian_noise(sigma=0.2)", "fog(severity=3)"),
    attacks=("fgsm(norm=linf, eps=0.1)", "pgd(norm=linf, eps=0.1, steps=2)"),
)
CELLS = {
    SPACE.text(cell): cell
    for cell in (("none", "none", "none", CONV, "none", "none"), (SKIP, CONV, CONV) * 2)
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of two cells and two seeds, stopped and taken up again."""
    folder = tmp_path_factory.mktemp("made")
    making = Making(folder / "work", TINY, CELLS)
    told = []
    next(making.run([0, 1], told.append))
    assert ["seed0_block00.parquet"] == [path.name for path in making.folder.iterdir()]
    before = making.path(0, 0).stat().st_mtime_ns
    assert [0, 1] == list(making.run([0, 1], told.append))
    assert before == making.path(0, 0).stat().st_mtime_ns
    making.write(folder / "table.parquet", [0, 1])
    return folder / "table.parquet"


def test_every_class_of_equal_cells_has_one_plain_representative():
    cells = representatives()

    assert 127 == len(cells) == len({SPACE.canonical(arch) for arch in cells})
    assert {SPACE.canonical(arch) for arch in SPACE.everything()} == {
        SPACE.canonical(arch) for arch in cells
    }
    # Two ways to write "one convolution from end to end"; the plainer one has no detour.
    detour = format_cell((SKIP, "none", "none", "none", CONV, "none"))
    assert format_cell(("none", "none", "none", CONV, "none", "none")) != detour
    assert representative(detour) in cells
    assert SPACE.canonical(detour) == SPACE.canonical(representative(detour))


def test_blocks_hold_each_cell_once_in_order():
    parts = blocks(representatives())

    assert max(map(len, parts)) <= 16
    assert list(representatives()) == [arch for part in parts for arch in part]


def test_the_table_has_a_row_for_each_number(made):
    table = pl.read_parquet(made)
    accuracies = table.filter(pl.col("metric") == "accuracy")
    counts = accuracies.group_by("split", "training", "condition", "seed").len()

    # Clean, two corruptions and two attacks; two splits, trainings and seeds; two cells.
    assert 5 * 2 * 2 * 2 == len(counts)
    assert {2} == set(counts["len"])
    assert {SPACE.spec} == set(table["space"])
    assert accuracies["value"].is_between(0, 1).all()
    assert set(TINY.attacks) <= set(accuracies["condition"])


def test_costs_are_those_of_the_networks(made):
    table = pl.read_parquet(made)
    found = table.filter(pl.col("condition") == "params")

    assert {arch: count_parameters(build_nb201(arch, channels=4, cells=1, in_channels=1))
            for arch in CELLS} == {
        arch: int(value) for arch, value in found.select("arch", "value").iter_rows()
    }  # fmt: skip
    assert {None} == set(found["seed"])
    assert {"none"} == set(found["split"]) == set(found["training"])


def test_the_file_says_how_it_was_made(made):
    about = {key.decode(): value for key, value in pq.read_schema(made).metadata.items()}

    assert [0, 1] == json.loads(about["seeds"])
    assert 0.1 == json.loads(about["setting"])["recipes"][1][1]["eps"]
    assert {"holdfast", "torch", "python", "machine"} == set(json.loads(about["made_with"]))


def test_a_cell_trained_alone_reproduces_its_rows(made, tmp_path):
    arch = list(CELLS)[1]
    found = differences(made, arch, seed=1, tolerance=0, setting=TINY)

    assert (representative(arch), 20, 0.0, ()) == (
        found.arch,
        found.rows,
        found.largest,
        found.listed,
    )
    changed = pl.read_parquet(made).with_columns(
        value=pl.when(pl.col("condition") == "clean", pl.col("seed") == 1)
        .then(pl.col("value") - 0.25)
        .otherwise("value")
    )
    changed.write_parquet(tmp_path / "changed.parquet")
    found = differences(tmp_path / "changed.parquet", arch, seed=1, tolerance=0.1, setting=TINY)
    assert 4 == len(found.listed)
    assert found.listed[-1].startswith("plain validation clean: stored ")
    assert 0.25 == pytest.approx(found.largest)


@pytest.mark.parametrize("text", TINY.conditions)
def test_corruptions_are_those_that_a_measurement_shows_its_model(text):
    images, labels = digits("validation")
    batch = Batch(images, labels, torch.arange(len(labels)))
    outcomes = parse_conditions(text)[1].run([batch], lambda seen: torch.zeros(len(seen), 10), 0)
    expected = pooled(torch.cat([outcome.images for outcome in outcomes]))
    found = dict(corrupted(images, parse_conditions(text), seed=0))

    assert ["clean", text] == list(found)
    assert torch.equal(expected, found[text])
    assert torch.equal(images[:, 0, ::4, ::4], found["clean"])


def test_accuracies_are_those_of_a_measurement():
    stack = Stack(list(CELLS.values()), TINY.size, seed=0)
    images, labels = digits("train")
    list(train(stack, pooled(images), labels, Recipe(epochs=4, learning_rate=8e-3), seed=0))
    net = build_nb201(list(CELLS)[1], channels=4, cells=1, in_channels=1)
    net.load_state_dict(stack.state(1), strict=False)
    result = measure(Pooled(net.eval()), "digits", TINY.conditions, split="validation")
    laboratory = Laboratory(TINY)
    found = dict(laboratory.measured(stack.prepared(training=False), laboratory.splits[0]))

    for condition in ("clean", *TINY.conditions):
        assert result.value(condition=condition) == pytest.approx(
            found[condition][1].item(), abs=1.5 / 297
        )
    assert found["clean"][1] > 0.6


def test_a_table_or_a_cell_that_is_not_there_is_told(made, tmp_path, capsys):
    with pytest.raises(MissingError, match="no table"):
        differences(tmp_path / "none.parquet", next(iter(CELLS)), seed=0, tolerance=0)
    with pytest.raises(BadValueError, match="no rows of"):
        differences(made, next(iter(CELLS)), seed=5, tolerance=0)
    assert 2 == main(["--out", str(made), "--check", "fog"])
    assert "no architecture" in capsys.readouterr().err
