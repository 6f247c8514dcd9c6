"""`holdfast search`, as a newcomer types it."""

from __future__ import annotations

import json
import shlex

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.cli.search import look_at_table, rate_untrained, run_search
from holdfast.search.tables import write_parquet
from search_toys import toy_table

CELL = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture(name="table", scope="module")
def _table(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "toy.parquet"
    write_parquet(toy_table(), path)
    return str(path)


def call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def search(table, *arguments):
    return call("search", "run", "--table", table, "-b", 20, "-n", 2, *arguments)


def test_a_search_tells_what_each_searcher_found(table):
    found = search(table, "-O", "clean")

    assert found.exit_code == 0, found.output
    assert "What searchers end with: means over 2 repetitions" in found.output
    assert "dataset=toys, training=plain, epochs=10" in found.output
    assert "clean, test" in found.output
    assert "found the optimum" in found.output
    assert "random: |" in found.output


def test_a_search_leaves_a_page_and_its_numbers(table, tmp_path):
    found = search(table, "-O", "clean", "-o", tmp_path / "out")

    assert found.exit_code == 0, found.output
    assert {"page.html", "search.json", "trials.parquet"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_the_same_command_goes_on(table, tmp_path):
    search(table, "-O", "clean", "-o", tmp_path / "out")
    again = search(table, "-O", "clean", "-o", tmp_path / "out")

    assert "40 of them known from before" in again.output


def test_searchers_are_named_with_commas_and_settings(table):
    found = search(table, "-O", "clean", "-s", "random,evolution(population=5, tournament=2)")

    assert found.exit_code == 0, found.output
    assert "evolution(population=5, tournament=2)" in found.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-O", "cleen"], "did you mean clean"),
        (["-O", "pgd(eps=0.5)"], "no column"),
        (["-O", "fog(severity=3)"], "--select-on test"),
        (["-O", "clean", "-c", "latency(device=toy) <= 0"], "kept by 0"),
        (["-O", "clean", "-c", "latency(device=toy)"], "cannot read the constraint"),
        (["-O", "clean", "-s", "anealing"], "no searcher named"),
        (["-O", "clean", "-s", "local(start=3)"], "did you mean starts"),
        (["-O", "clean", "--dataset", "cifar10"], "dataset=cifar10"),
        (["-O", "clean[split=train]"], "split=train"),
        (["-O", "clean["], "cannot read"),
        (["-O", "0.5*"], "cannot read"),
        (["-O", ""], "an objective names a column"),
    ],
)
def test_what_cannot_be_searched_ends_with_2(table, arguments, told):
    found = search(table, *arguments)

    assert found.exit_code == 2
    assert told in found.output.replace("\n", " ")
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("cut.json", '{"cifar10": {"clean": {"accuracy": {"0": 0.9', "only in part"),
        ("page.json", "<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        ("empty.json", "", ""),
        ("other.csv", "a,b\n1,2\n", ""),
        ("torn.parquet", "PAR1", ""),
    ],
)
def test_a_file_that_is_no_table_ends_with_2(tmp_path, name, body, told):
    (tmp_path / name).write_text(body)
    found = search(tmp_path / name, "-O", "clean")

    assert found.exit_code == 2
    assert told in found.output
    assert name in found.output
    assert "Traceback" not in found.output


def test_a_table_with_missing_rows_ends_with_2(tmp_path):
    write_parquet(toy_table(without=CELL), tmp_path / "holes.parquet")
    found = search(tmp_path / "holes.parquet", "-O", "clean")

    assert found.exit_code == 2
    assert "--missing fail" in found.output
    assert search(tmp_path / "holes.parquet", "-O", "clean", "--missing", "fail").exit_code == 0


def test_a_table_is_described(table):
    found = call("search", "table", table)

    assert found.exit_code == 0, found.output
    assert "latency(device=toy)" in found.output
    assert "729" in found.output


def test_a_table_is_looked_at_in_every_way(table, tmp_path):
    found = call("search", "table", table, "--correlate", "--best", "--describe",
                 "--neighbours", CELL, "--column", "clean", "--column", "pgd",
                 "-o", tmp_path)  # fmt: skip

    assert found.exit_code == 0, found.output
    assert (tmp_path / "page.html").exists()
    assert "operators of the best" in found.output
    assert "neighbour of" in found.output


def test_an_unknown_architecture_ends_with_2(table):
    found = call("search", "table", table, "--neighbours", "|conv~0|")

    assert found.exit_code == 2
    assert "no architecture" in found.output


def test_too_many_columns_for_a_heat_map_ends_with_2(table):
    found = call("search", "table", table, "--correlate", "--column", "clean[split=test]")

    assert found.exit_code == 2
    assert "two columns or more" in found.output


def test_proxies_rate_untrained_networks(tmp_path):
    arguments = ("search", "proxies", "params,l2_norm", "--arch", CELL, "--channels", 4,
                 "--cells", 1, "-o", tmp_path / "scores.jsonl")  # fmt: skip
    found = call(*arguments)

    assert found.exit_code == 0, found.output
    assert CELL in found.output
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert {row["proxy"] for row in rows} == {"params", "l2_norm"}


def test_proxies_are_compared_with_a_table(table):
    found = call("search", "proxies", "params", "--table", table, "--n", 20, "--channels", 4,
                 "--cells", 1, "--column", "clean[split=test]")  # fmt: skip

    assert found.exit_code == 0, found.output
    assert "Spearman" in found.output
    assert "20" in found.output


def test_an_unknown_proxy_ends_with_2():
    found = call("search", "proxies", "parms")

    assert found.exit_code == 2
    assert "did you mean params" in found.output


@pytest.mark.parametrize("what", ["spaces", "tables", "searchers", "proxies"])
def test_what_a_search_can_use_is_listed(what):
    found = call("list", what)

    assert found.exit_code == 0, found.output
    assert len(found.output.splitlines()) > 5


def test_readers_that_met_no_published_file_are_marked():
    lines = call("list", "tables", "--json").output.splitlines()
    readers = {row["table"]: row["reader"] for row in map(json.loads, lines)}

    assert readers["nares"] == "unverified"
    assert readers["digits"].startswith("verified")


def test_a_table_without_an_address_tells_the_manual_step():
    found = call("data", "fetch", "nasrobbench201")

    assert found.exit_code == 2
    assert "Google" in found.output


def test_the_examples_of_the_help_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (run_search, look_at_table, rate_untrained):
        text = " ".join(command.__doc__.partition("Example:")[2].split())
        found = CliRunner().invoke(app, shlex.split(text)[1:])

        assert found.exit_code == 0, f"{text}: {found.output}"


def test_a_folder_with_another_search_is_left_alone(table, tmp_path):
    assert search(table, "-O", "clean", "-o", tmp_path).exit_code == 0
    before = (tmp_path / "search.json").read_bytes()
    other = search(table, "-O", "min:clean", "-o", tmp_path)

    assert other.exit_code == 2
    assert "holds another search (clean of toy" in other.output
    assert (tmp_path / "search.json").read_bytes() == before


def test_a_front_is_told(table):
    found = search(table, "-O", "clean", "-O", "pgd", "-s", "nsga2")

    assert found.exit_code == 0, found.output
    assert "front of" in found.output


def test_a_table_is_not_written_over_itself(table):
    assert call("search", "table", table, "--convert", table).exit_code == 2
    assert call("search", "table", table, "--convert", f"{table}.csv").exit_code == 2
