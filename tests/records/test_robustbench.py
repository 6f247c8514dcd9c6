"""RobustBench's files: every published number is read, and what is written reads the same."""

import json

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.records import Measurement, measurement_frame
from holdfast.records.robustbench import (
    MODEL_INFO_COLUMNS,
    ModelInfo,
    read_model_info,
    write_model_info,
)

ENTRY = {
    "link": "https://example.org/paper",
    "name": "A paper",
    "authors": "A. Author, B. Writer",
    "additional_data": True,
    "number_forward_passes": 2,
    "dataset": "cifar10",
    "venue": "Somewhere 2024",
    "architecture": "ResNet-18",
    "eps": "8/255",
    "clean_acc": "68.38",
    "reported": "34.4",
    "autoattack_acc": "33.10",
    "unreliable": False,
}


def entry(folder, **changes):
    path = folder / "cifar10" / "Linf" / "Author2024Paper.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {name: value for name, value in (ENTRY | changes).items() if value != "absent"}
    path.write_text(json.dumps(body))
    return path


def numbers(frame):
    return dict(zip(frame["metric"], frame["value"], strict=True))


def measured(condition="clean", **changes):
    body = {
        "run_id": "r",
        "status": "ok",
        "model": "m",
        "weights_digest": "w",
        "data": "cifar10",
        "data_digest": "x",
        "split": "test",
        "view": "model",
        "condition": condition,
        "family": "clean" if condition == "clean" else "attack",
        "metric": "accuracy",
        "value": 0.9,
        "count": 10,
        "device": "cpu",
        "dtype": "float32",
        "seed": 0,
        "holdfast_version": "0",
        "torch_version": "0",
    }
    return Measurement(**(body | changes))


def attacked(condition="autoattack(norm=linf, eps=8/255, version=standard)", **changes):
    return measured(condition, **({"norm": "linf", "eps": 8 / 255, "value": 0.5} | changes))


def written(folder, rows, info=None):
    return write_model_info(folder / "cifar10" / "Linf" / "m.json", measurement_frame(rows), info)


def test_percent_become_fractions(tmp_path):
    frame = read_model_info(entry(tmp_path))

    expected = {"clean_accuracy": 0.6838, "robust_accuracy": 0.331, "reported_accuracy": 0.344}
    assert expected == numbers(frame)


def test_a_row_says_all_that_the_file_does(tmp_path):
    row = read_model_info(entry(tmp_path)).row(0, named=True)

    expected = {
        "model": "Author2024Paper",
        "dataset": "cifar10",
        "threat": "Linf",
        "norm": "linf",
        "eps": 8 / 255,
        "metric": "clean_accuracy",
        "value": 0.6838,
        "architecture": "ResNet-18",
        "additional_data": True,
        "number_forward_passes": 2,
        "unreliable": False,
        "name": "A paper",
        "authors": "A. Author, B. Writer",
        "venue": "Somewhere 2024",
        "link": "https://example.org/paper",
        "footnote": None,
    }
    assert expected == row
    assert list(MODEL_INFO_COLUMNS) == list(row)


@pytest.mark.parametrize("nothing", ["absent", None, "", " ", "null"])
def test_a_number_that_is_not_there_has_no_row(tmp_path, nothing):
    frame = read_model_info(entry(tmp_path, reported=nothing, autoattack_acc=nothing))

    assert ["clean_accuracy"] == frame["metric"].to_list()


@pytest.mark.parametrize("nothing", ["absent", None, ""])
def test_what_a_file_does_not_say_is_null(tmp_path, nothing):
    row = read_model_info(entry(tmp_path, eps=nothing, venue=nothing)).row(0, named=True)

    assert (None, None) == (row["eps"], row["venue"])


@pytest.mark.parametrize(("text", "eps"), [("0.5", 0.5), ("4/255", 4 / 255), (0.031, 0.031)])
def test_eps_is_a_fraction_or_a_decimal(tmp_path, text, eps):
    assert eps == read_model_info(entry(tmp_path, eps=text))["eps"][0]


def test_a_ratio_may_exceed_one(tmp_path):
    frame = read_model_info(entry(tmp_path, corruptions_mce="104.5"))

    assert 1.045 == numbers(frame)["mce"]


def test_a_file_in_another_folder_has_no_threat(tmp_path):
    path = tmp_path / "alone.json"
    path.write_text(json.dumps(ENTRY))
    row = read_model_info(path).row(0, named=True)

    assert ("cifar10", None, None) == (row["dataset"], row["threat"], row["norm"])


def test_the_folder_knows_the_dataset_better_than_the_file(tmp_path):
    frame = read_model_info(entry(tmp_path, dataset="cifar100"))

    assert "cifar10" == frame["dataset"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clean_acc", "about 68"),
        ("clean_acc", "168.38"),
        ("clean_acc", "-3"),
        ("clean_acc", "1e9"),
        ("clean_acc", True),
        ("clean_acc", ["68.38"]),
        ("clean_acc", float("nan")),
        ("eps", "8/0"),
        ("eps", "8/255/2"),
        ("additional_data", "yes"),
        ("number_forward_passes", "1"),
        ("number_forward_passes", 0),
        ("number_forward_passes", -1),
        ("number_forward_passes", 10**20),
        ("authors", ["A. Author"]),
    ],
)
def test_a_damaged_field_is_named_with_its_file(tmp_path, field, value):
    path = entry(tmp_path, **{field: value})

    with pytest.raises(BadValueError, match=rf"{path} is no model_info.*{field} must be"):
        read_model_info(tmp_path)


@pytest.mark.parametrize("body", ["", "{", "[]", "7", '{"a": "\\ud800"', "[" * 100_000])
def test_a_file_that_is_no_json_object_is_named(tmp_path, body):
    path = tmp_path / "broken.json"
    path.write_text(body)

    with pytest.raises(BadValueError, match=f"{path} is no model_info of RobustBench"):
        read_model_info(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(b'{"name": "\xff\xfe"}')

    with pytest.raises(BadValueError, match=f"{path} is no model_info of RobustBench"):
        read_model_info(path)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.json", ""])
def test_where_nothing_is_the_place_is_named(tmp_path, name):
    with pytest.raises(MissingError, match=f"no model_info at {tmp_path / name}"):
        read_model_info(tmp_path / name)


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path):
    path = entry(tmp_path)
    path.with_name("Aaa.json").write_text(json.dumps(ENTRY))
    path.with_name("table.csv").write_text("no,json")

    models = read_model_info(tmp_path)["model"].unique(maintain_order=True).to_list()
    assert ["Aaa", "Author2024Paper"] == models


@pytest.mark.parametrize("value", [0.6838, 1 / 3, 0.0, 1.0, 2 / 30_000, 0.1 + 0.2])
def test_what_was_written_reads_the_same(tmp_path, value):
    path = written(tmp_path, [measured(value=value), attacked(value=value / 2)])
    frame = read_model_info(path)

    assert {"clean_accuracy": value, "robust_accuracy": value / 2} == numbers(frame)


@pytest.mark.parametrize(
    ("eps", "text"),
    [(8 / 255, "8/255"), (0.5, "0.5"), (0.031, "0.031"), (12.0, "12.0"), (1e-5, "0.00001")],
)
def test_eps_is_written_as_robustbench_does(tmp_path, eps, text):
    path = written(tmp_path, [measured(), attacked(eps=eps)])

    assert text == json.loads(path.read_text())["eps"]
    assert eps == read_model_info(path)["eps"][0]


def test_a_written_file_has_the_fields_and_texts_of_robustbench(tmp_path):
    info = ModelInfo(
        name="A paper",
        authors="A. Author, B. Writer",
        venue="Somewhere 2024",
        link="https://example.org/paper",
        architecture="ResNet-18",
        additional_data=True,
        number_forward_passes=2,
        reported=0.344,
    )
    path = written(tmp_path, [measured(value=0.6838), attacked(value=0.331)], info)

    expected = ENTRY | {"reported": "34.40", "footnote": ""}
    assert expected == json.loads(path.read_text())


def test_what_is_not_given_is_empty(tmp_path):
    body = json.loads(written(tmp_path, [measured(), attacked()]).read_text())

    assert ("", "", None) == (body["name"], body["reported"], body["additional_data"])
    assert "cifar10" == body["dataset"]


@pytest.mark.parametrize(("flags", "unreliable"), [((), False), (("zero_gradients",), True)])
def test_doubtful_runs_are_unreliable(tmp_path, flags, unreliable):
    path = written(tmp_path, [measured(), attacked(flags=flags)])

    assert unreliable == json.loads(path.read_text())["unreliable"]


def test_the_standard_version_is_taken(tmp_path):
    other = attacked("autoattack(norm=linf, eps=8/255, version=plus)", value=0.1)

    path = written(tmp_path, [measured(), attacked(), other])
    assert 0.5 == numbers(read_model_info(path))["robust_accuracy"]


def test_other_rows_are_passed_over(tmp_path):
    others = [
        measured(metric="ece", value=0.1),
        measured("fog(severity=3)", value=0.2),
        measured(status="failed", value=None),
        attacked("pgd(norm=linf, eps=8/255)", value=0.3),
    ]

    path = written(tmp_path, [measured(), attacked(), *others])
    assert {"clean_accuracy": 0.9, "robust_accuracy": 0.5} == numbers(read_model_info(path))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([attacked()], "expected one row with the clean accuracy, got 0; measure it first"),
        ([measured()], "expected one row with the accuracy under autoattack, got 0"),
        ([measured(), attacked(), attacked(eps=0.5)], "got 2: model m; .*eps 0.5.*filter the rows"),
        ([measured(), attacked(value=float("nan"), count=0)], "has no value, for it rests on 0"),
        ([measured(), attacked(model="other")], "model is 'm' and 'other'; filter the rows"),
        ([measured(), attacked(data_digest="y")], "data_digest is 'x' and 'y'"),
    ],
)
def test_rows_that_do_not_say_one_thing_are_refused(tmp_path, rows, message):
    with pytest.raises(BadValueError, match=message):
        written(tmp_path, rows)
    assert [] == list(tmp_path.rglob("*.json"))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cifar10").write_text("a file where a folder must be")

    with pytest.raises(StoreError, match=r"cannot write .*m\.json.*choose another place"):
        written(tmp_path, [measured(), attacked()])


@pytest.mark.shared
def test_every_published_number_is_read_once(shared):
    frame = read_model_info(shared / "data" / "tables" / "robustbench" / "model_info")

    # Counted with grep over the files; one file has a field twice.
    expected = {
        "clean_accuracy": 236,
        "robust_accuracy": 188,
        "external_accuracy": 25,
        "reported_accuracy": 214,
        "corruption_accuracy": 48,
        "corruption_accuracy_3d": 12,
        "mce": 12,
        "mce_3d": 12,
    }
    assert expected == dict(frame["metric"].value_counts().iter_rows())
    assert frame.select("dataset", "threat", "model", "metric").is_unique().all()


@pytest.mark.shared
def test_the_boards_are_led_by_those_who_lead_them(shared):
    frame = read_model_info(shared / "data" / "tables" / "robustbench" / "model_info")
    robust = frame.filter(pl.col("metric").is_in(["robust_accuracy", "external_accuracy"]))
    lowest = robust.group_by("dataset", "threat", "model").agg(pl.col("value").min())
    best = lowest.sort("value").group_by("dataset", "threat").last()

    # As the site of RobustBench shows them.
    expected = {
        ("cifar10", "Linf", "Bartoldson2024Adversarial_WRN-94-16", 0.7371),
        ("cifar10", "L2", "Wang2023Better_WRN-70-16", 0.8497),
        ("cifar100", "Linf", "Wang2023Better_WRN-70-16", 0.4266),
        ("imagenet", "Linf", "Xu2024MIMIR_Swin-L", 0.5968),
    }
    assert expected == set(best.iter_rows())


@pytest.mark.shared
def test_published_numbers_survive_being_written(shared, tmp_path):
    frame = read_model_info(shared / "data" / "tables" / "robustbench" / "model_info" / "cifar10")
    table = frame.filter(pl.col("norm").is_not_null()).pivot(
        "metric", index=["model", "threat", "norm", "eps"], values="value"
    )
    assert 120 == len(table)
    for row in table.iter_rows(named=True):
        path = tmp_path / "cifar10" / row["threat"] / f"{row['model']}.json"
        attack = attacked(eps=row["eps"], norm=row["norm"], value=row["robust_accuracy"])
        rows = [measured(value=row["clean_accuracy"]), attack]
        write_model_info(path, measurement_frame(rows))

    columns = ["model", "threat", "norm", "eps", "metric", "value"]
    kept = frame.filter(
        pl.col("norm").is_not_null() & pl.col("metric").is_in(["clean_accuracy", "robust_accuracy"])
    )
    expected = kept.select(columns).sort(columns)
    assert expected.equals(read_model_info(tmp_path).select(columns).sort(columns))
