"""`holdfast write-model-info` and `read-model-info`."""

import json

import pytest

from holdfast.records import Store
from report.make_attacks import MEMBERS, PGD, add_attack, attacked, auto
from report.make_store import MODELS, add_run, samples_of

RADII = (2 / 255, 4 / 255)


@pytest.fixture
def store(here):
    """A store `s` with one model: clean, AutoAttack at two radii, PGD at the larger one."""
    return filled(here / "s")


def filled(path, model=0, **changes):
    store = Store(path)
    add_run(store, MODELS[model], "clean", samples_of(model, "clean", 150), **changes)
    for place, eps in enumerate(RADII):
        rows = attacked(model, eps, MEMBERS)
        add_attack(store, model, auto(place), rows, eps=eps, **changes)
    text = PGD.format(eps="4/255", loss="margin")
    add_attack(store, model, text, attacked(model, 4 / 255, {"pgd": 40}), eps=4 / 255, **changes)
    return store


def fractions(store, model=0):
    """Accuracy by condition, as the store has it."""
    rows = store.measurements().filter(metric="accuracy", model=MODELS[model])
    return dict(zip(rows["condition"], rows["value"], strict=True))


def refused(result, *words):
    assert 2 == result.exit_code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr.replace("\n", " ")


def read_rows(cli, path):
    lines = cli("read-model-info", path, "--json").stdout.splitlines()
    return {row["metric"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize(("place", "eps"), [(0, "2/255"), (1, "4/255")])
def test_the_numbers_of_the_radius_asked_for_are_written(cli, store, here, place, eps):
    target = here / "digits" / "Linf" / "m.json"
    result = cli("write-model-info", "s", "--out", target, "--eps", eps)
    rows, expected = read_rows(cli, target), fractions(store)

    assert 0 == result.exit_code, result.output
    assert expected["clean"] == rows["clean_accuracy"]["value"]
    assert expected[auto(place)] == rows["robust_accuracy"]["value"]
    assert RADII[place] == rows["robust_accuracy"]["eps"]


def test_what_the_options_say_is_in_the_file(cli, store, here):
    told = {
        "name": "A paper",
        "authors": "A. Author",
        "venue": "Somewhere 2026",
        "link": "paper.html",
        "architecture": "ResNet-18",
        "dataset": "cifar10",
        "footnote": "None",
    }
    options = [part for name, word in told.items() for part in (f"--{name}", word)]
    options += ["--eps", "2/255", "--no-additional-data", "--reported", "0.25"]
    cli("write-model-info", "s", "--out", "m.json", *options)
    body = json.loads((here / "m.json").read_text())

    assert told | {"additional_data": False, "reported": "25.00"} == {
        name: body[name] for name in (*told, "additional_data", "reported")
    }


def test_several_radii_are_refused_until_one_is_named(cli, store, here):
    refused(cli("write-model-info", "s", "--out", "m.json"), "got 2", "filter the rows")
    assert not (here / "m.json").exists()


def test_a_radius_that_was_not_measured_is_refused(cli, store):
    result = cli("write-model-info", "s", "--out", "m.json", "--eps", "8/255")

    refused(result, "no attack at norm any and eps 8/255", auto(0), "measure")


def test_a_norm_that_was_not_measured_is_refused(cli, store):
    result = cli("write-model-info", "s", "--out", "m.json", "--eps", "2/255", "--norm", "l2")

    refused(result, "no attack at norm l2 and eps 2/255")


@pytest.mark.parametrize("eps", ["eight", "8/0", "nan"])
def test_a_radius_that_is_no_number_is_refused(cli, store, eps):
    refused(cli("write-model-info", "s", "--out", "m.json", "--eps", eps), "such as 8/255", eps)


def test_a_model_is_chosen_by_its_name(cli, store, here):
    other = filled(here / "s", model=1)
    options = ("--eps", "2/255", "--model", MODELS[1])
    cli("write-model-info", "s", "--out", "m.json", *options)

    assert fractions(other, 1)["clean"] == read_rows(cli, "m.json")["clean_accuracy"]["value"]


def test_a_seed_chooses_among_repeated_runs(cli, store, here):
    filled(here / "s", seed=3)
    options = ("--out", "m.json", "--eps", "2/255")

    refused(cli("write-model-info", "s", *options), "got 2", "seed 3")
    assert 0 == cli("write-model-info", "s", *options, "--seed", "3").exit_code


@pytest.mark.parametrize(("option", "known"), [("model", MODELS[0]), ("data", "digits")])
def test_a_name_that_the_store_lacks_is_refused(cli, store, option, known):
    result = cli("write-model-info", "s", "--out", "m.json", f"--{option}", "nothing")

    refused(result, f"no {option} nothing", f"it holds {known}")


def test_a_file_is_replaced_only_when_asked(cli, store, here):
    (here / "m.json").write_text("mine")
    options = ("--out", "m.json", "--eps", "2/255")

    refused(cli("write-model-info", "s", *options), "m.json is there already", "--force")
    assert "mine" == (here / "m.json").read_text()
    assert 0 == cli("write-model-info", "s", *options, "--force").exit_code
    assert "mine" != (here / "m.json").read_text()


def test_a_table_shows_percent_and_the_radius(cli, store, here):
    target = here / "digits" / "Linf" / "m.json"
    cli("write-model-info", "s", "--out", target, "--eps", "4/255")
    text = cli("read-model-info", here).stdout.replace("\N{NO-BREAK SPACE}", " ")
    row = next(line.split() for line in text.splitlines() if "robust_accuracy" in line)

    expected = f"{100 * fractions(store)[auto(1)]:.2f}"
    assert ["m", "digits", "Linf", "4/255", "robust_accuracy", expected, "%"] == row


def test_a_table_marks_an_unreliable_number(cli, here):
    body = {"clean_acc": "90", "autoattack_acc": "50", "unreliable": True}
    (here / "m.json").write_text(json.dumps(body))
    text = cli("read-model-info", "m.json").stdout

    assert 2 == text.count("unreliable")


def test_an_error_ratio_is_no_percentage(cli, here):
    (here / "m.json").write_text(json.dumps({"corruptions_mce": "76.38"}))
    text = cli("read-model-info", "m.json").stdout

    assert "0.7638" in text and "%" not in text


def test_a_file_without_numbers_is_told(cli, here):
    (here / "m.json").write_text("{}")

    assert "m.json holds no numbers" in cli("read-model-info", "m.json").stdout


def test_a_file_of_another_kind_is_refused(cli, here):
    (here / "m.json").write_text("[]")

    refused(cli("read-model-info", "m.json"), "m.json is no model_info", "expected one object")


def test_a_missing_file_is_refused(cli, here):
    refused(cli("read-model-info", "m.json"), "no model_info at m.json")
