"""Tables and networks that explanations cannot take as they are: refused, or flagged."""

from __future__ import annotations

import gzip

import polars as pl
import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.explain.ranking import rank
from holdfast.explain.rules import read_given
from holdfast.explain.tables import observations_of_testbed
from holdfast.explain.theory import theory_of
from holdfast.models import Card, Classifier, Preprocessing
from holdfast.models.surgery import parse_changes
from holdfast.records.testbed import read_testbed
from holdfast.records.timm_tables import read_timm_results

HEAD = "model,val,imagenet-c.fog.1_on-disk,imagenet-c.fog.2_on-disk"
ROWS = ("a,80,70,60", "b,81,71,61", "c,82,72,62")


def written(folder, rows=ROWS, head=HEAD):
    path = folder / "t.csv"
    path.write_text("\n".join([head, *rows, ""]))
    return path


def test_clean_fractions_among_percents_are_refused(tmp_path):
    rows = [row.replace(",8", ",0.8", 1) for row in ROWS]

    with pytest.raises(BadValueError, match=r"clean accuracies go up to 0.82 and others to 72"):
        read_testbed(written(tmp_path, rows))


def test_fractions_of_one_model_or_one_test_set_are_flagged(tmp_path):
    rows = ["a,80,70,0.6", "b,81,71,0.61", "c,0.82,0.72,0.62"]
    told = read_testbed(written(tmp_path, rows)).flags

    assert [flag.split(";")[0] for flag in told] == [
        "no value above 1 % where others have more: fog 2",
        "no value above 1 % where others have more: c",
    ]


def test_a_table_of_fractions_may_have_a_test_set_below_one_in_a_hundred(tmp_path):
    rows = ["a,0.80,0.70,0.006", "b,0.81,0.71,0.0061"]

    assert len(read_testbed(written(tmp_path, rows)).flags) == 1  # that all are fractions


def test_a_text_in_a_column_of_accuracies_is_missing_and_the_column_stays(tmp_path):
    found = read_testbed(written(tmp_path, ["a,oops,70,60", *ROWS[1:]]))

    clean = found.rows.filter(pl.col("test_set") == "clean")
    assert clean["model"].to_list() == ["b", "c"]
    assert found.attributes.columns == ["model"]
    assert found.flags == ("cells that are no numbers are taken for missing: val ('oops')",)


@pytest.mark.parametrize("cell", ["-5", "nan", "text"])
def test_a_test_set_without_accuracies_is_left_out_and_no_attribute(tmp_path, cell):
    found = read_testbed(written(tmp_path, [f"{row.rpartition(',')[0]},{cell}" for row in ROWS]))

    assert set(found.rows["level"]) == {0.0, 1.0}
    assert found.attributes.columns == ["model"]
    assert "imagenet-c.fog.2_on-disk" in found.flags[0]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: gzip.compress(text.encode()),
    ],
)
def test_other_line_ends_and_encodings_are_the_same_table(tmp_path, encode):
    path = written(tmp_path)
    expected = read_testbed(path).rows
    path.write_bytes(encode(path.read_text()))

    assert read_testbed(path).rows.equals(expected)


def test_names_that_are_not_utf_8_stay_two(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(f"{HEAD}\nné,80,70,60\nnè,81,71,61\n".encode("latin-1"))

    assert set(read_testbed(path).rows["model"]) == {"né", "nè"}


@pytest.mark.parametrize("read", [read_testbed, read_timm_results])
@pytest.mark.parametrize("raw", [b"PAR1\0\0", b"\x1f\x8bdamaged"])
def test_what_is_no_text_is_refused(tmp_path, read, raw):
    path = tmp_path / "t.csv"
    path.write_bytes(raw)

    with pytest.raises(BadValueError, match=r"(is no text|is damaged).*expected a table"):
        read(path)
    with pytest.raises(BadValueError, match="is a folder"):
        read(tmp_path)


def test_control_characters_of_names_become_spaces(tmp_path):
    found = read_testbed(written(tmp_path, ['"new\nline",80,70,60', "\x1b[31mred,81,71,61"]))

    assert set(found.rows["model"]) == {"new line", "[31mred"}


def test_accuracies_of_timm_as_fractions_are_refused(tmp_path):
    path = written(tmp_path, ["a,224,0.8"], "model,img_size,top1")

    with pytest.raises(BadValueError, match=r"top1 must be percent, and its largest is 0\.8"):
        read_timm_results(path)


def test_ranks_say_which_severities_are_missing(tmp_path):
    told = rank(observations_of_testbed(written(tmp_path))).flags

    assert "of the five severities the table lacks 3, 4, 5: slopes are over the others" in told


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"model": [1, 2], "x": [1, 2]}, "must hold names, got Int64"),
        ({"model": ["a", None], "x": [1, 2]}, "a row without a model's name"),
        ({"model": ["a", "b"], "x": [[1], [2]]}, r"got List\(Int64\) in x"),
        ({"model": ["a", "b"], "x": [b"1", b"2"]}, "got Binary in x"),
    ],
)
def test_attributes_of_other_kinds_are_refused(tmp_path, columns, told):
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(BadValueError, match=told):
        read_given(tmp_path / "a.parquet")


class Again(nn.Module):
    """One convolution, three times."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        for _ in range(3):
            x = self.conv(x)
        return self.head(x.mean((2, 3)))


def classifier(net):
    return Classifier(net.eval(), Card(name="net", preprocessing=Preprocessing(), identity="net"))


def explained(net, size=16):
    torch.manual_seed(0)
    keys = keys_for(torch.arange(16), seed=0, stream="t")
    return theory_of(
        classifier(net),
        keys.uniform(3, size, size).float(),
        0.1,
        keys,
    )


def test_a_stem_that_is_called_again_is_measured_on_pixels_alone():
    torch.manual_seed(3)
    found = explained(Again())

    assert found.stem_measured.count == 16
    assert found.stem_measured.value == pytest.approx(found.stem_exact, rel=0.1)
    named = {layer.name: layer.analytic for layer in found.layers}
    assert named["conv"] > 0
    assert named["conv#2"] != named["conv#2"]  # no data


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 10)),
    ],
)
def test_images_of_another_size_than_a_network_takes_are_refused(net):
    with pytest.raises(BadValueError, match=r"net fails on images \[3, 16, 16\].*the size"):
        explained(net)
    assert explained(net, 8).stem_measured.count == 16


def test_normalization_does_not_apply_to_groups():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)
    )
    change = parse_changes(["normalization(mean=0.5, std=0.5)"])[0]

    assert "groups" in change.applies(classifier(net))
