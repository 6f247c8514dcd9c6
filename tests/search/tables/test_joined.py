"""The joined CSV, on small files: what is kept, and what is refused."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.tables import READERS, BenchmarkTable, open_table

SPACE = space_of("nb201")
FIRST = next(arch for arch in SPACE.everything() if SPACE.canonical(arch) == arch)
PAIR = next(arch for arch in SPACE.everything() if SPACE.canonical(arch) != arch)
PAIR = (SPACE.canonical(PAIR), PAIR)


def write(path, *rows, header="arch_str,clean200_cifar10,at_cifar10_val_pgd_8_acc"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def opened(path):
    return open_table(f"nb201-joined:{path}")


def refused(path):
    with pytest.raises(BadValueError) as caught:
        opened(path)
    return str(caught.value)


def test_cells_of_a_class_keep_their_own_clean_accuracy_and_share_the_attacked_one(tmp_path):
    first, other = PAIR
    table = opened(write(tmp_path / "a.csv", f"{first},90,0.4", f"{other},80,0.4"))
    clean, pgd = table.pick("clean"), table.pick("pgd")
    assert table.values(clean) == pytest.approx({first: 0.9, other: 0.8})
    assert table.values(pgd) == pytest.approx({first: 0.4})
    assert table.value(pgd, other) == pytest.approx(0.4)


def test_a_compressed_file_is_read_and_recognised(tmp_path):
    plain = write(tmp_path / "a.csv", f"{FIRST},90,0.4")
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert open_table(str(packed)).frame.equals(opened(plain).frame)


def test_nan_and_empty_fields_are_no_data_and_counted(tmp_path):
    first, other = PAIR
    path = write(tmp_path / "a.csv", f"{first},NaN,0.4", f"{other},80,0.4", f"{FIRST},,0.3")
    table = opened(path)
    clean = table.pick("clean")
    assert table.no_data == 2
    with pytest.raises(BadValueError, match=r"has no clean.*2 architectures|has no clean"):
        table.value(clean, FIRST)


def test_what_is_missing_in_a_table_is_said_with_the_number_that_is_there(tmp_path):
    table = opened(write(tmp_path / "a.csv", f"{FIRST},90,0.4"))
    with pytest.raises(BadValueError, match="it has 1 architectures of nb201"):
        table.value(table.pick("clean"), PAIR[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("|nor_conv_5x5~0|,90,0.4", "is no architecture of nb201"),
        (f"{FIRST},90,1.4", "expected a fraction of 0 to 1"),
        (f"{FIRST},many,0.4", "cannot be read as CSV"),
        (f"{PAIR[1]},90,0.4", "lacks rows"),
        (f"{FIRST},90,0.4\n{FIRST},90,0.4", "more than once"),
        (f"{PAIR[0]},90,0.4\n{PAIR[1]},90,0.5", "differs between cells of the same class"),
        (f"{FIRST},NaN,NaN", "none of the 2 scores"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, row, message):
    assert message in refused(write(tmp_path / "a.csv", row))


def test_an_unknown_column_is_named(tmp_path):
    path = write(tmp_path / "a.csv", f"{FIRST},1", header="arch_str,surprise")
    assert "surprise" in refused(path)


def test_ids_that_are_not_the_benchmarks_are_refused(tmp_path):
    header = "arch,arch_str,iso,at_cifar10_autoattack"
    rows = (f"0,{PAIR[0]},0,0.4", f"1,{PAIR[1]},1,0.4")
    assert "iso 1 is not the first cell" in refused(write(tmp_path / "a.csv", *rows, header=header))


def test_a_file_that_was_cut_off_while_packed_is_refused(tmp_path):
    packed = gzip.compress(write(tmp_path / "a.csv", f"{FIRST},90,0.4").read_bytes())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed[:-12])
    assert "damaged or cut off" in refused(path)


def test_the_first_recorded_of_a_class_stands_for_it_where_its_first_has_no_row(tmp_path):
    column = opened(write(tmp_path / "a.csv", f"{PAIR[0]},90,0.4")).frame
    other = column.with_columns(arch=pl.lit(PAIR[1]).cast(pl.Categorical))
    table = BenchmarkTable(READERS["nb201-joined"].card, other)
    clean = table.pick("clean")
    assert table.values(clean) == pytest.approx({PAIR[0]: 0.9})
    assert table.value(clean, PAIR[1]) == pytest.approx(0.9)


def test_a_condition_written_in_full_means_that_column_only(tmp_path):
    header = "arch_str,clean200_cifar10,std_cifar10_clean"
    table = opened(write(tmp_path / "a.csv", f"{FIRST},90,0.8", header=header))
    assert table.pick("clean").condition == "clean"
    assert table.pick("clean(weights=released)").condition == "clean(weights=released)"
