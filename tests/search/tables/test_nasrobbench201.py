"""NAS-RobBench-201: the release's layout and the page's, on files made here."""

from __future__ import annotations

import json

import pytest

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.search.analysis import scores
from holdfast.search.spaces import space_of
from holdfast.search.tables import open_table
from holdfast.search.tables.formats.nasrobbench201 import CONDITIONS, DATASETS

SPACE = space_of("nb201")
METRICS = ("val_acc", "val_fgsm_3.0_acc", "val_pgd_8.0_acc", "autoattack")
CELLS = list(SPACE.everything())
NUMBERS = {arch: number for number, arch in enumerate(CELLS)}
FIRSTS = {number: NUMBERS[SPACE.canonical(arch)] for number, arch in enumerate(CELLS)}
ORDER = [f"{dataset}#{metric}" for dataset in DATASETS for metric in CONDITIONS]


@pytest.fixture
def release(tmp_path):
    ids = {str(n): {"nb201-string": CELLS[n], "isomorph": str(n)} for n in range(3)}
    (tmp_path / "meta.json").write_text(json.dumps({"ids": ids, "epsilons": {}}))
    scores = {uid: {metric: {"0": 0.5, "1": 0.6, "2": 0.7} for metric in METRICS} for uid in ids}
    return put(tmp_path / "NAS-RobBench-201_all.json", {"cifar10": scores, "imagenet": scores})


def put(path, content):
    path.write_text(json.dumps(content))
    return path


def refused(path, name="nasrobbench201"):
    with pytest.raises((BadValueError, UnknownNameError)) as caught:
        open_table(f"{name}:{path}")
    return str(caught.value)


def test_the_release_has_a_row_a_seed_and_is_recognised(release):
    table = open_table(str(release))
    assert table.card.name == "nasrobbench201"
    assert len(table.frame) == 2 * 3 * 4 * 3
    column = table.pick("pgd(eps=8/255)", dataset="ImageNet16-120")
    assert column.training == "adversarial" and column.epochs == 50 and column.split == "test"
    assert table.value(column, CELLS[1]) == pytest.approx(0.6)
    assert sorted(set(table.frame["seed"])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["cifar10"].pop("1"), "lacks 1 of 3 architectures"),
        (lambda s: s["cifar10"].update({"15": s["cifar10"]["1"]}), "15, which"),
        (lambda s: s["cifar10"]["1"].update({"val_cw_acc": {"0": 0.5}}), "no metric of"),
        (lambda s: s["cifar10"]["1"].update({"val_acc": 0.5}), "must be a JSON object"),
        (lambda s: s["cifar10"]["1"].update({"val_acc": {"a": 0.5}}), "the seed 'a'"),
        (lambda s: s.update({"svhn": s["cifar10"]}), "no data set of"),
    ],
)
def test_a_wrong_release_is_refused(release, change, message):
    scores = json.loads(release.read_text())
    change(scores)
    assert message in refused(put(release, scores))


def test_a_release_without_a_list_of_ids_has_the_benchmarks_own(release):
    (release.parent / "meta.json").unlink()
    assert "lacks 6,463 of 6,466" in refused(release)


def page(path, lists, order=ORDER, start="acc="):
    entries = {str(n): lists[n] if first == n else str(first) for n, first in FIRSTS.items()}
    path.write_text(f"{start}{json.dumps({**entries, '': order})}")
    return path


@pytest.fixture(scope="module")
def lists():
    return {
        first: [(first % 100) / 1000 + place / 100 for place in range(len(ORDER))]
        for first in set(FIRSTS.values())
    }


@pytest.mark.parametrize("start", ["acc=", "var acc = "])
def test_the_page_has_a_row_a_class_and_is_recognised(tmp_path, lists, start):
    table = open_table(str(page(tmp_path / "page.json", lists, start=start)))
    assert table.card.name == "nasrobbench201-page"
    assert len(table.frame) == 6_466 * 18
    assert table.card.verified == "a file with all 6,466 architectures"
    cell = CELLS[13714]
    place = ORDER.index("cifar100#val_pgd_3_acc")
    column = table.pick("pgd(eps=3/255)", dataset="cifar100")
    assert table.value(column, cell) == pytest.approx(lists[13714][place])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("acc=", "", 1), "does not begin with NAME = {"),
        (lambda text: text[:-3], "ends in the middle"),
        (lambda text: text.replace('"": [', '"x": [', 1), "no list of columns"),
        (lambda text: text.replace("0.0, ", "", 1), "17 numbers for cell"),
    ],
)
def test_a_wrong_page_is_refused(tmp_path, lists, change, message):
    path = page(tmp_path / "page.json", lists)
    path.write_text(change(path.read_text()))
    assert message in refused(path, "nasrobbench201-page")


def test_a_cell_that_leads_nowhere_is_refused(tmp_path, lists):
    other = next(number for number, first in FIRSTS.items() if number != first)
    path = page(tmp_path / "page.json", lists)
    text = path.read_text().replace(f'"{other}": "{FIRSTS[other]}"', f'"{other}": "99999"')
    path.write_text(text)
    assert f"cell {other} leads to a cell without numbers" in refused(path, "nasrobbench201-page")


@pytest.mark.shared
def test_page_made_of_the_joined_files_numbers_agrees_with_it(tmp_path, shared):
    joined = open_table(str(shared / "data" / "nas/nb201_cifar10.csv.gz"))
    columns = [joined.pick(condition, training="adversarial") for condition in CONDITIONS.values()]
    told = scores(joined, columns)
    found = {NUMBERS[a]: list(row) * 3 for a, row in zip(told.archs, told.values, strict=True)}
    table = open_table(str(page(tmp_path / "page.json", found)))
    for column in columns:
        theirs = table.values(table.pick(column.condition, dataset="cifar10"))
        assert theirs == joined.values(column)
