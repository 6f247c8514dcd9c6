"""From what a person types to a table, and to one file and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, MissingError, StoreError, UnknownNameError
from holdfast.search.spaces import space_of
from holdfast.search.tables import (
    READERS,
    BenchmarkTable,
    Card,
    known_tables,
    open_table,
    write_parquet,
)
from holdfast.search.tables.schema import frame_of

ARCHS = list(space_of("macro").everything())[:4]
CHAINS = {
    arch: {"test_acc": [90.0 + place], "params": 5, "flops": place}
    for place, arch in enumerate(ARCHS)
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chains.json"
    path.write_text(json.dumps(CHAINS))
    return path


def refused(text, kind=BadValueError, **given):
    with pytest.raises(kind) as caught:
        open_table(text, **given)
    return str(caught.value)


def test_a_converted_table_is_the_same_one(file, tmp_path):
    out = tmp_path / "new" / "chains.parquet"
    table = open_table(str(file))
    write_parquet(table, out)
    again = open_table(str(out))
    assert again.card == table.card
    assert again.columns == table.columns
    assert all(again.values(column) == table.values(column) for column in table.columns)
    assert not list(out.parent.glob("*.part"))


def test_rows_of_a_column_lie_together_in_a_converted_file(file, tmp_path):
    table = open_table(str(file))
    shuffled = BenchmarkTable(table.card, table.frame.sample(fraction=1, shuffle=True, seed=0))
    write_parquet(shuffled, tmp_path / "t.parquet")
    runs = pl.read_parquet(tmp_path / "t.parquet")["condition"].cast(pl.String).rle()
    assert len(runs) == 3


def test_a_table_of_ones_own_needs_no_card(tmp_path, file):
    frame = open_table(str(file)).frame
    frame.write_parquet(tmp_path / "mine.parquet")
    assert open_table(str(tmp_path / "mine.parquet")).card.name == "mine"


def test_a_name_finds_its_folder_of_raw_or_converted_files(file, tmp_path):
    folder = tmp_path / "nasbench-macro"
    folder.mkdir()
    assert "holdfast data fetch nasbench-macro" in refused(
        "nasbench-macro", MissingError, root=tmp_path
    )
    file.rename(folder / file.name)
    raw = open_table("nasbench-macro", root=tmp_path)
    write_parquet(raw, folder / "nasbench-macro.parquet")
    (folder / file.name).unlink()
    assert open_table("nasbench-macro", root=tmp_path).card == raw.card


def test_the_folder_of_tables_is_the_named_sets_one(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    folder = tmp_path / "tables" / "nasbench-macro"
    folder.mkdir(parents=True)
    file.rename(folder / file.name)
    assert open_table("nasbench-macro").card.name == "nasbench-macro"


def test_a_table_without_a_public_address_says_what_to_do_by_hand(tmp_path):
    message = refused("nasrobbench201", MissingError, root=tmp_path)
    assert "Google Drive" in message and str(tmp_path / "nasrobbench201") in message


@pytest.mark.parametrize("name", ["digit", "nasrobbench"])
def test_an_unknown_name_hears_of_near_ones(name):
    assert "did you mean" in refused(name, UnknownNameError)


def test_a_path_that_is_not_there_is_no_unknown_name(tmp_path):
    assert "does not exist" in refused(str(tmp_path / "gone.json"), MissingError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>", "is a web page"),
        (b"PK\x03\x04whatever", "is of no format that is known"),
        (b"", "is of no format that is known"),
        (b'{"a": 1}', "is of no format that is known"),
    ],
)
def test_a_file_of_no_format_is_refused(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert message in refused(str(path))


@pytest.mark.parametrize("name", READERS)
def test_each_reader_refuses_a_web_page_an_empty_file_and_noise(tmp_path, name):
    for content in (b"<html>x</html>", b"", b"\x00\xff\x93\x11", b'{"a": [1, 2'):
        path = tmp_path / "file.json"
        path.write_bytes(content)
        with pytest.raises(BadValueError):
            open_table(f"{name}:{path}")


@pytest.mark.parametrize("name", READERS)
def test_each_reader_refuses_an_empty_folder_and_knows_nothing_of_it(tmp_path, name):
    assert not READERS[name].knows(tmp_path)
    assert not READERS[name].knows(tmp_path / "gone")
    with pytest.raises((BadValueError, MissingError)):
        open_table(f"{name}:{tmp_path}")


def test_a_parquet_file_that_is_cut_off_or_another_is_refused(file, tmp_path):
    out = tmp_path / "t.parquet"
    write_parquet(open_table(str(file)), out)
    data = out.read_bytes()
    out.write_bytes(data[: len(data) // 2])
    assert "damaged or cut off" in refused(str(out))
    pl.DataFrame({"arch": ["1"], "value": [0.5]}).write_parquet(out)
    assert "missing: condition" in refused(str(out))


def test_a_table_that_cannot_be_written_is_an_error_of_the_place(file, tmp_path):
    table = open_table(str(file))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        write_parquet(table, tmp_path / "file" / "t.parquet")


def test_every_known_table_has_a_title_a_source_and_a_way_to_get_it():
    rows = known_tables()
    assert [row[0] for row in rows] == ["digits", *READERS]
    assert all(all(row) for row in rows)
    states = {row[0]: row[3] for row in rows}
    assert states["nares"] == "unverified"
    assert states["robustness-dataset"].startswith("verified: CIFAR-10")


def test_a_reader_that_met_a_whole_release_is_listed_as_verified(tmp_path):
    folder = tmp_path / "nasbench-macro"
    folder.mkdir()
    path = folder / "all.json"
    for count, state in ((6_560, "unverified"), (6_561, "verified: a file with all 6,561")):
        archs = list(space_of("macro").everything())[:count]
        path.write_text(json.dumps(dict.fromkeys(archs, CHAINS[ARCHS[0]])))
        table = open_table(f"nasbench-macro:{path}")
        write_parquet(table, folder / "nasbench-macro.parquet")
        states = {row[0]: row[3] for row in known_tables(root=tmp_path)}
        assert states["nasbench-macro"].startswith(state)


@pytest.mark.parametrize("text", ["{", "[]", '{"colour": "red"}'])
def test_a_damaged_card_is_refused(file, tmp_path, text):
    path = tmp_path / "t.parquet"
    open_table(str(file)).frame.write_parquet(path, metadata={"holdfast_table": text})
    assert "the card in" in refused(str(path))


def test_nan_in_a_table_counts_as_no_data():
    row = {
        "space": "macro", "arch": ARCHS[0], "dataset": "d", "split": "test", "training": "plain",
        "epochs": None, "condition": "clean", "metric": "accuracy", "seed": None, "value": 0.5,
    }  # fmt: skip
    rows = [row, {**row, "arch": ARCHS[1], "value": float("nan")}]
    table = BenchmarkTable(Card("t", "t", "t"), frame_of(rows))
    assert table.no_data == 1


MEASURED = """
import pathlib, re, sys, time
import polars, holdfast.search.tables as tables
start = time.process_time()
tables.open_table(sys.argv[1])
took = time.process_time() - start
# The peak of this program; what getrusage gives may be its parent's.
status = pathlib.Path("/proc/self/status").read_text()
print(took, int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024)
"""


@pytest.mark.shared
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_converted_table_of_750_thousand_rows_opens_in_a_second_and_300_mb(shared, tmp_path):
    out = tmp_path / "t.parquet"
    write_parquet(open_table(str(shared / "data" / "nas/robustness-dataset-cifar10")), out)
    command = [sys.executable, "-c", MEASURED, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 1
    assert megabytes < 300
    assert out.stat().st_size < 3_000_000
