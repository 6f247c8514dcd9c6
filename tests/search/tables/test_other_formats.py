"""Formats whose real files were not at hand: files made here as their authors describe them."""

from __future__ import annotations

import base64
import json
import math
import struct

import pytest
import torch

from holdfast.core.errors import BadValueError, MissingError
from holdfast.search.spaces import space_of
from holdfast.search.tables import open_table

CELLS = space_of("nb201")


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refused(text, kind=BadValueError):
    with pytest.raises(kind) as caught:
        open_table(text)
    return str(caught.value)


# NAS-Bench-Macro
CHAINS = {
    "01200120": {
        "test_acc": [90.0, 91.0, 92.0], "mean_acc": 91.0, "std": 0.8, "params": 7, "flops": 9
    },
    "22222222": {
        "test_acc": [93.0, 93.5, 94.0], "mean_acc": 93.5, "std": 0.4, "params": 8, "flops": 10
    },
}  # fmt: skip


def test_macro_has_a_row_a_training_and_costs(tmp_path):
    table = open_table(str(put(tmp_path / "m.json", CHAINS)))
    assert table.card.name == "nasbench-macro"
    assert table.value(table.pick("clean"), "01200120") == pytest.approx(0.91)
    assert table.value(table.pick("flops"), "22222222") == 10
    assert len(table.frame) == 2 * (3 + 2)
    assert table.pick("flops").better == "lower"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0120012": CHAINS["01200120"]}, "is no architecture of macro"),
        ({"01200120": {"params": 1, "flops": 1}}, "has no test_acc"),
        ({"01200120": {**CHAINS["01200120"], "test_acc": [90.0]}}, "unequal length"),
    ],
)
def test_a_wrong_macro_file_is_refused(tmp_path, change, message):
    path = put(tmp_path / "m.json", {**CHAINS, **change})
    assert message in refused(f"nasbench-macro:{path}")


# HW-NAS-Bench
def hardware(**changed):
    metrics = {
        "edgegpu_latency": [number / 1000 for number in range(CELLS.size)],
        "fpga_energy": [2.0] * CELLS.size,
        "config": [{"C": 16}] * 2,
    }
    return {"nasbench201": {"cifar10": {**metrics, **changed}}}


def test_hardware_costs_are_by_published_number(tmp_path):
    table = open_table(str(put(tmp_path / "hw.json", hardware())))
    latency = table.pick("latency(device=edgegpu)")
    assert table.value(latency, CELLS.from_id(1500)) == pytest.approx(1.5)
    assert (latency.metric, latency.better) == ("milliseconds", "lower")
    assert table.pick("energy").metric == "millijoules"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edgegpu_latency": [1.0] * 9}, "9 values for 15,625"),
        ({"edgegpu_power": [1.0] * 9}, "neither DEVICE_latency nor DEVICE_energy"),
        ({"edgegpu_latency": 3}, "must be a list"),
    ],
)
def test_wrong_hardware_costs_are_refused(tmp_path, changed, message):
    path = put(tmp_path / "hw.json", hardware(**changed))
    assert message in refused(f"hw-nas-bench:{path}")


def test_a_pickle_of_hardware_costs_is_not_opened_and_the_converter_is_shown(tmp_path):
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(b"\x80\x03}q\x00.")
    message = refused(f"hw-nas-bench:{path}")
    assert "is a pickle, which is not read" in message and "json.dump(" in message


# NAS-Bench-101
def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def evaluation(validation, test):
    numbers = (0.0, 1.0, 0.99, validation, test)
    fields = b"".join(
        bytes([place << 3 | 1]) + struct.pack("<d", number)
        for place, number in enumerate(numbers, start=1)
    )
    return fields + b"\x32" + varint(3) + b"abc"  # a path of a checkpoint


def record(digest, adjacency, operations, end, parameters=8_555_530, epochs=108):
    metrics = b"".join(
        b"\x0a" + varint(len(data)) + data
        for data in (evaluation(0.1, 0.1), evaluation(0.5, 0.5), evaluation(*end))
    )
    metrics += b"\x10" + varint(parameters) + b"\x19" + struct.pack("<d", 3.0)
    return framed([digest, epochs, adjacency, operations, base64.b64encode(metrics).decode()])


def framed(row):
    content = json.dumps(row).encode()
    return len(content).to_bytes(8, "little") + b"crc4" + content + b"crc4"


CHAIN = ("a" * 32, "010001000", "input,conv3x3-bn-relu,output")
DIRECT = ("b" * 32, "0100", "input,output")


def records(path, *rows):
    path.write_bytes(b"".join(rows))
    return path


def test_nasbench101_is_read_from_its_records(tmp_path):
    path = records(
        tmp_path / "nasbench_only108.tfrecord",
        record(*CHAIN, (0.90, 0.89)),
        record(*DIRECT, (0.5, 0.4), 300),
        record(*CHAIN, (0.92, 0.91)),
    )
    table = open_table(str(path))
    chain = "101|conv3x3-bn-relu"
    validation = table.pick("clean", split="validation")
    assert table.value(validation, chain) == pytest.approx(0.91)
    assert table.value(table.pick("clean", split="test"), "1|") == pytest.approx(0.4)
    assert table.value(table.pick("params"), chain) == 8_555_530
    assert validation.epochs == 108
    assert sorted(table.frame.filter(seed=1)["value"]) == pytest.approx([0.91, 0.92])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([record(*CHAIN, (0.9, 0.9))[:-6]], "ends within a record"),
        ([b"\xff" * 40], "is no TFRecord file"),
        ([record("c" * 32, "01000", "input,output", (0.9, 0.9))], "no square"),
        ([record("c" * 32, "0100", "input,magic,output", (0.9, 0.9))], "no architecture of nb101"),
        ([framed([*CHAIN[:1], 108, *CHAIN[1:], "!!!!"])], "metrics that cannot be read"),
        ([framed([*CHAIN[:1], 108, *CHAIN[1:], "EAE="])], "metrics that cannot be read"),
        ([b"\x02" + bytes(7) + b"crc4[]crc4"], "is not [hash, epochs"),
    ],
)
def test_wrong_records_are_refused(tmp_path, rows, message):
    assert message in refused(f"nasbench101:{records(tmp_path / 'x.tfrecord', *rows)}")


# NAS-Bench-301
def config(**changed):
    edges = {
        "normal": {0: "sep_conv_3x3", 1: "skip_connect", 2: "max_pool_3x3", 4: "dil_conv_5x5",
                   5: "sep_conv_5x5", 6: "skip_connect", 9: "avg_pool_3x3", 13: "sep_conv_3x3"},
        "reduce": {0: "skip_connect", 1: "skip_connect", 2: "skip_connect", 3: "skip_connect",
                   5: "skip_connect", 8: "dil_conv_3x3", 11: "skip_connect", 12: "skip_connect"},
    }  # fmt: skip
    inputs = {"normal": ("0_2", "0_1", "0_4"), "reduce": ("0_1", "0_3", "2_3")}
    start = "NetworkSelectorDatasetInfo:darts:"
    found = {f"{start}edge_{kind}_{k}": op for kind in edges for k, op in edges[kind].items()}
    found |= {
        f"{start}inputs_node_{kind}_{node}": pair
        for kind in inputs
        for node, pair in zip((3, 4, 5), inputs[kind], strict=True)
    }
    return {**found, f"{start}layers": 8, **changed}


GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 0), "
    "('dil_conv_5x5', 2), ('sep_conv_5x5', 0), ('skip_connect', 1), ('avg_pool_3x3', 0), "
    "('sep_conv_3x3', 4)], normal_concat=[2, 3, 4, 5], reduce=[('skip_connect', 0), "
    "('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), "
    "('dil_conv_3x3', 3), ('skip_connect', 2), ('skip_connect', 3)], reduce_concat=[2, 3, 4, 5])"
)


def result(validation=94.0, **changed):
    info = {"val_accuracy": validation, "model_parameters": 3_000_000}
    whole = {
        "optimized_hyperparamater_config": config(), "budget": 98, "info": [info],
        "test_accuracy": 93.0, "runtime": 5000,
    }  # fmt: skip
    return {**whole, **changed}


def test_results_become_genotypes_and_means_of_repeats(tmp_path):
    put(tmp_path / "rs" / "run_0" / "results_0.json", result(94.0))
    put(tmp_path / "rs" / "run_1" / "results_1.json", result(95.0))
    table = open_table(str(tmp_path))
    assert table.card.name == "nasbench301"
    validation = table.pick("clean", split="validation")
    assert table.value(validation, GENOTYPE) == pytest.approx(0.945)
    assert table.value(table.pick("training_time"), GENOTYPE) == 5000
    assert validation.epochs == 98
    assert {0, 1} == set(table.frame["seed"].to_list())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**result(), "optimized_hyperparamater_config": {"a": 1}}, "has no Network"),
        ({key: value for key, value in result().items() if key != "info"}, "lacks 'info'"),
        (
            result(optimized_hyperparamater_config=config(
                **{"NetworkSelectorDatasetInfo:darts:edge_normal_0": "conv_9x9"}
            )),
            "is no architecture of darts",
        ),
        ('{"final_metric_score": -97', "ends in the middle"),
    ],
)  # fmt: skip
def test_wrong_results_are_refused(tmp_path, content, message):
    put(tmp_path / "results_0.json", content)
    assert message in refused(f"nasbench301:{tmp_path}")


def test_predictions_of_a_surrogate_are_read(tmp_path):
    path = put(tmp_path / "p.csv", f'arch,val_accuracy\n"{GENOTYPE}",94.5\n')
    table = open_table(str(path))
    assert table.value(table.pick("clean"), GENOTYPE) == pytest.approx(0.945)
    assert table.card.name == "nasbench301-predicted"


# NAS-Bench-NLP
RECIPE = {
    "node_0": {"op": "linear", "input": ["x", "h_prev_0"]},
    "h_new_0": {"op": "activation_tanh", "input": ["node_0"]},
}


def log(**changed):
    whole = {
        "recepie": json.dumps(RECIPE), "data": "data/ptb", "epochs": 50, "num_params": 1000,
        "val_losses": [6.0, 5.0, float("nan")], "test_losses": [5.5, 4.9, float("nan")],
        "status": "loss is nan!",
    }  # fmt: skip
    return {**whole, **changed}


def test_logs_give_the_perplexity_of_the_best_epoch(tmp_path):
    put(tmp_path / "log_stats_model_0.json", log())
    table = open_table(str(tmp_path))
    arch = json.dumps(RECIPE)
    test = table.pick("clean", split="test")
    assert table.value(test, arch) == pytest.approx(math.exp(4.9), rel=1e-6)
    assert (test.dataset, test.better, table.space.spec) == ("ptb", "lower", "nlp")


def test_a_training_that_diverged_at_once_has_no_data(tmp_path):
    put(tmp_path / "a.json", log())
    other = json.loads(json.dumps(RECIPE).replace("tanh", "sigm"))
    put(tmp_path / "b.json", log(recepie=other, val_losses=[], test_losses=[]))
    table = open_table(str(tmp_path))
    assert table.no_data == 2
    assert len(table.values(table.pick("clean", split="validation"))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (log(test_losses=[5.0]), "3 val_losses and 1 test_losses"),
        ({"recepie": "{}"}, "lacks one of"),
        (log(recepie='{"h_new_0": 1}'), "is no architecture of nlp"),
    ],
)
def test_wrong_logs_are_refused(tmp_path, content, message):
    put(tmp_path / "a.json", content)
    assert message in refused(f"nasbench-nlp:{tmp_path}")


# NARes
def wide(**changed):
    attacks = {"Linf_fgsm_acc": 60.0, "Linf_pgd_acc": 55.0, "Linf_cw_acc": 54.0}
    levels = {str(level): {"acc": 90.0 - level, "loss": 0.1} for level in range(1, 6)}
    test = {"test_clean_acc": 87.0, **attacks, "Linf_aa_acc": 52.0, "corruptions": {"fog": levels}}
    train = {
        "seed": 3, "best_epoch": 1, "val_acc": [70.0, 76.0], "pgd": [30.0, 38.0], "cw": [29.0, 37.0]
    }  # fmt: skip
    whole = {
        "arch_id": 9, "arch": {"D1": 4, "W1": 10, "D2": 5, "W2": 12, "D3": 11, "W3": 16},
        "MACs": 2e9, "Params": 4e7, "train": [train], "test_best": [test],
    }  # fmt: skip
    return {**whole, **changed}


def test_wide_networks_have_validation_test_and_corruptions(tmp_path):
    table = open_table(str(put(tmp_path / "cifar10.jsonl", json.dumps(wide()) + "\n\n")))
    arch = "Arch(D1=4, W1=10, D2=5, W2=12, D3=11, W3=16)"
    values = {
        "pgd": ("validation", 0.38), "autoattack": ("test", 0.52), "fog(severity=2)": ("test", 0.88)
    }  # fmt: skip
    for condition, (split, value) in values.items():
        assert table.value(table.pick(condition, split=split), arch) == pytest.approx(value)
    assert table.value(table.pick("flops"), arch) == 2e9
    assert set(table.frame["seed"]) == {None, 3}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(wide())[:-20], "line 2 of"),
        (json.dumps(wide(arch={"D1": 4})), "line 2 of"),
        (json.dumps(wide(arch={**wide()["arch"], "W3": 15})), "W3 must be one of"),
        (json.dumps(wide(train=[])), "has 0 trainings and 1 tests"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path, line, message):
    path = put(tmp_path / "cifar10.jsonl", f"{json.dumps(wide())}\n{line}\n")
    assert message in refused(f"nares:{path}")


# NATS-Bench and NAS-Bench-201
HEADER = "arch_str,dataset,split,epochs,seed,accuracy"


def test_a_csv_of_accuracies_is_read_by_split_and_seed(tmp_path):
    arch = CELLS.from_id(5)
    lines = [
        HEADER, f"{arch},cifar10-valid,validation,200,777,90", f"{arch},cifar10,test,200,777,93",
        f"{arch},cifar10,test,200,888,94",
    ]  # fmt: skip
    table = open_table(str(put(tmp_path / "n.csv", "\n".join(lines))))
    assert table.value(table.pick("clean", split="test"), arch) == pytest.approx(0.935)
    validation = table.pick("clean", split="validation")
    assert (validation.dataset, validation.epochs) == ("cifar10", 200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\n|x~0|,cifar10,test,200,,90", "is no architecture of nb201"),
        (f"{HEADER}\n{CELLS.from_id(0)},cifar10,exam,200,,90", "has the split exam"),
        (f"{HEADER},x\n{CELLS.from_id(0)},cifar10,test,200,,90,1", "has the columns"),
        (f"{HEADER}\n{CELLS.from_id(0)},cifar10,test,200,,high", "cannot be read as CSV"),
    ],
)
def test_a_wrong_csv_is_refused(tmp_path, text, message):
    assert message in refused(f"nats-bench:{put(tmp_path / 'n.csv', text)}")


def archive():
    def trained(dataset, seed, scores):
        return (dataset, seed), {
            "epochs": 200, "params": 1.531546, "flop": 220.12,
            "eval_acc1es": {f"{name}@{epoch}": v for (name, epoch), v in scores.items()},
        }  # fmt: skip

    results = dict(
        [
            trained("cifar10-valid", 777, {("x-valid", 199): 91.0, ("ori-test", 199): 90.0}),
            trained("cifar10", 777, {("ori-test", 199): 94.0, ("ori-test", 11): 50.0}),
            trained("cifar100", 888, {("x-test", 199): 73.0, ("x-valid", 199): 72.0}),
        ]
    )
    state = {"arch_str": CELLS.from_id(7), "all_results": results}
    return {"meta_archs": [], "arch2infos": {7: {"full": state}}, "evaluated_indexes": [7]}


def test_the_archive_is_opened_without_running_anything(tmp_path):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(archive(), path)
    table, arch = open_table(str(path)), CELLS.from_id(7)
    found = {(c.dataset, c.split): table.value(c, arch) for c in table.matching("clean")}
    assert found == pytest.approx(
        {
            ("cifar10", "validation"): 0.91, ("cifar10", "test"): 0.94,
            ("cifar100", "test"): 0.73, ("cifar100", "validation"): 0.72,
        }
    )  # fmt: skip
    assert table.value(table.pick("params", dataset="cifar10"), arch) == 1_531_546


class Foreign:
    """What no archive should hold."""


def test_an_archive_that_would_run_something_is_refused_with_the_way_round_it(tmp_path):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save({"arch2infos": Foreign()}, path)
    message = refused(f"nats-bench:{path}")
    assert "cannot be opened without running what is in it" in message and "EXPORT" in message


def test_missing_files_say_what_is_expected(tmp_path):
    message = refused(f"nares:{tmp_path / 'none.jsonl'}", MissingError)
    assert "none.jsonl does not exist; expected: JSON lines" in message
