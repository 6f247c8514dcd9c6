"""`holdfast explain rules`."""

from __future__ import annotations

import pytest

from explain.rules.make_table import make_models, write_testbed
from helpers import MODEL_FILE
from holdfast.records.explanations import Rules, read_explanation
from holdfast.records.store import Store
from report.make_store import add_run, samples_of


@pytest.fixture
def testbed(here):
    return write_testbed(here / "t.csv", make_models(11))


def test_one_command_does_all_on_a_testbed_table(cli, testbed, here):
    found = cli("explain", "rules", "--from-testbed", testbed, "--out", "r")

    assert found.exit_code == 0, found.output
    assert "gaussian_noise: 200 models, 200 with attributes, levels 1, 2, 3, 4, 5" in found.output
    assert "holds" in found.output
    assert "held out, slope: Spearman" in found.output
    assert "linearity, accuracy: R^2 1.00" in found.output
    assert (here / "r" / "page.html").is_file()
    kept = read_explanation(here / "r", Rules)
    assert kept.models == 200
    assert kept.command.startswith("holdfast")


def test_the_other_recording_and_attributes_from_a_file(cli, testbed, here):
    (here / "a.csv").write_text(
        "model,kind\n" + "".join(f"net-{one:03d},mlp\n" for one in range(200))
    )
    found = cli(
        "explain", "rules", "--from-testbed", testbed, "--variant-kind", "in-memory",
        "--attributes", "a.csv", "--out", "r",
    )  # fmt: skip

    assert found.exit_code == 0, found.output
    kept = read_explanation(here / "r", Rules)
    assert {one.kind for one in kept.points} == {"mlp"}


def test_names_that_are_not_known_are_listed_and_keep_their_slopes(cli, here):
    rows = make_models(1, count=12)
    bare = [{name: row[name] for name in ("model", "clean", "true_slope")} for row in rows]
    path = write_testbed(here / "t.csv", bare)
    found = cli("explain", "rules", "--from-testbed", path, "--out", "r")

    assert found.exit_code == 0, found.output
    assert "12 models, 0 with attributes" in found.output
    assert "not resolved: net-000, net-001" in found.output
    points = read_explanation(here / "r", Rules).points
    assert [one.slope for one in points] == pytest.approx([row["true_slope"] for row in rows])


def test_a_store_of_models_of_a_file(cli, here):
    gains = (5, 10, 20, 40, 80)
    made = "".join(
        f"""
def gain{gain}():
    net = Bright()
    net.gain.data.fill_({gain})
    return net
"""
        for gain in gains
    )
    (here / "five.py").write_text(f"{MODEL_FILE}{made}")
    store = Store(here / "s")
    for gain in gains:
        for sigma in (0, 0.1, 0.2):
            accuracy = {"value": 0.9 - gain / 100 * sigma, "count": 100}
            condition = f"gaussian_noise(sigma={sigma})" if sigma else "clean"
            add_run(store, f"five.py:gain{gain}", condition, samples_of(1, "clean", 10),
                    metrics={"accuracy": accuracy})  # fmt: skip
    found = cli("explain", "rules", "s", "--out", "r")

    assert found.exit_code == 0, found.output
    kept = read_explanation(here / "r", Rules)
    assert kept.levels == (0.1, 0.2)
    assert {one.model: round(one.slope, 9) for one in kept.points} == {
        f"five.py:gain{gain}": -gain / 100 for gain in gains
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give one table"),
        (["s", "--from-testbed", "t.csv"], "give one table"),
        (["--from-timm", "a.csv"], "go together"),
        (["--from-testbed", "none.csv"], "no file"),
        (["--from-testbed", "t.csv", "--perturbation", "fog"], "gaussian_noise"),
        (["--from-testbed", "t.csv", "--attributes", "none.csv"], "no file"),
        (["nostore"], "no store"),
    ],
)
def test_bad_input_is_told(cli, testbed, arguments, told):
    found = cli("explain", "rules", *arguments)

    assert found.exit_code == 2
    assert told in " ".join(found.output.split())


def test_too_few_models(cli, here):
    found = cli(
        "explain", "rules", "--from-testbed", write_testbed(here / "t.csv", make_models(1, count=4))
    )

    assert found.exit_code == 2
    assert "rules need 5" in " ".join(found.output.split())
