"""Outcomes may come in any order and grouping, as those of continuous batching do."""

from dataclasses import dataclass, replace

import pytest
import torch

import holdfast
from helpers import Textured, pictures
from holdfast.measuring import flow, loop, stream
from holdfast.perturb.base import Perturbation, forward_once
from holdfast.records import Store

UNIT = torch.from_numpy(pictures(50)).permute(0, 3, 1, 2).float() / 255
DATA = (UNIT, torch.arange(50) % 5)


@dataclass(frozen=True)
class Mixing(Perturbation):
    """Holds samples back and gives them out in batches of seven, last first."""

    lost: int = 0

    spec = "mixing"
    kind = "attack"

    def columns(self):
        return {"norm": "linf", "eps": 8 / 255, "steps": 3}

    def run(self, batches, classifier, seed):
        held = list(batches)
        ids = torch.cat([batch.ids for batch in held]).flip(0)
        images = torch.cat([batch.images for batch in held]).flip(0)
        labels = torch.cat([batch.labels for batch in held]).flip(0)
        for low in range(0, len(ids) - self.lost, 7):
            part = slice(low, min(low + 7, len(ids) - self.lost))
            batch = replace(held[0], images=images[part], labels=labels[part], ids=ids[part])
            outcome = forward_once(batch, batch.images, classifier)
            yield replace(outcome, extra={"broke": batch.ids * 2}, flags=frozenset({"mixed"}))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(stream, "PART", 16)


def test_outcomes_in_any_order_give_the_same_samples():
    results = holdfast.measure(Textured(), DATA, Mixing(), batch_size=6)
    clean, mixed = results.samples["clean"], results.samples["mixing"]

    assert clean["id"].equals(mixed["id"])
    assert clean["prediction"].equals(mixed["prediction"])


def test_what_an_attack_says_of_itself_is_in_the_record():
    row = holdfast.measure(Textured(), DATA, [Mixing()]).measurements.row(-1, named=True)

    assert ("mixing", "attack", "linf", 8 / 255, 3, ["mixed"]) == (
        row["condition"],
        row["family"],
        row["norm"],
        row["eps"],
        row["steps"],
        row["flags"],
    )


def test_columns_that_an_attack_adds_are_kept(tmp_path):
    holdfast.measure(Textured(), DATA, Mixing(), store=tmp_path / "s")
    store = Store.existing(tmp_path / "s")
    (frame,) = [f for f in map(store.samples, store.runs()) if "broke" in f.columns]

    assert (frame["id"] * 2).equals(frame["broke"], check_names=False)


def test_samples_that_never_come_back_fail_the_run():
    results = holdfast.measure(Textured(), DATA, Mixing(lost=3))
    row = results.measurements.filter(condition="mixing").row(0, named=True)

    assert "failed" == row["status"]
    assert "3 samples were given to the perturbation and never came back" in row["error"]


@dataclass(frozen=True)
class Brighter(Perturbation):
    """Several amounts of light at once; dies after some batches, as a killed process does."""

    amounts: tuple[float, ...] = (0.0, 0.4)
    lasts = 99  # batches
    given = ()  # ids that the last process was given

    kind = "attack"
    slow = True

    @property
    def spec(self):
        return f"brighter(amount={self.amounts[0]})"

    @property
    def conditions(self):
        return tuple(Brighter((amount,)) for amount in self.amounts)

    def only(self, conditions):
        return Brighter(tuple(one.amounts[0] for one in conditions))

    def run(self, batches, classifier, seed):
        Brighter.given = ()
        for place, batch in enumerate(batches):
            if place == Brighter.lasts:
                raise KeyboardInterrupt
            Brighter.given += tuple(batch.ids.tolist())
            for condition, amount in enumerate(self.amounts):
                outcome = forward_once(batch, (batch.images + amount).clamp(0, 1), classifier)
                yield replace(outcome, condition=condition)


@pytest.fixture
def killed_twice(tmp_path, monkeypatch):
    """A store of two processes that died after two batches each, samples kept at once."""
    monkeypatch.setattr(flow, "_KEEP_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Brighter, "lasts", 2)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                brighter(tmp_path)
    return tmp_path


def brighter(store):
    return holdfast.measure(Textured(), DATA, Brighter(), batch_size=3, store=store / "s")


def test_each_of_several_conditions_has_its_own_outcomes(tmp_path):
    samples = brighter(tmp_path).samples
    model = Textured()
    for amount in Brighter().amounts:
        with torch.no_grad():
            expected = model((UNIT + amount).clamp(0, 1)).argmax(1).tolist()
        assert expected == samples[f"brighter(amount={amount})"]["prediction"].to_list()


def test_what_killed_processes_kept_is_neither_lost_nor_measured_again(killed_twice, tmp_path):
    told = brighter(killed_twice).samples
    given = Brighter.given
    undisturbed = brighter(tmp_path / "other").samples

    assert tuple(range(12, 50)) == given
    for name, samples in undisturbed.items():
        assert samples.equals(told[name], null_equal=True)


def test_what_the_model_says_of_itself_is_kept_with_what_killed_processes_finished(
    killed_twice, monkeypatch
):
    monkeypatch.setattr(loop.Seeing, "__init__", started(loop.Seeing.__init__, {"batch_halved"}))
    with monkeypatch.context() as patch:
        patch.setattr(Brighter, "lasts", 2)
        with pytest.raises(KeyboardInterrupt):
            brighter(killed_twice)
    monkeypatch.undo()
    frame = brighter(killed_twice).measurements.filter(family="corruption")

    assert all("batch_halved" in flags for flags in frame["flags"])


def started(original, flags):
    """A start that sets flags too."""

    def start(self, *args):
        original(self, *args)
        self.flags |= flags

    return start
