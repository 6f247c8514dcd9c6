"""A run's folder: what is in it, how it is taken up again, and what is refused."""

import json
import math

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from holdfast.core.errors import BadValueError, ChangedInputError, MissingError
from holdfast.models import digest_state, load_model
from holdfast.records.trainings import read_curves, read_training, summary
from holdfast.training.events import Finished, Noted, Options, Started, Validated
from holdfast.training.folders import read_recipe
from holdfast.training.preparing import prepare
from holdfast.training.reading import load_recipe
from holdfast.training.run import resume, train
from holdfast.training.stepping import DivergedError, Stepped
from holdfast.training.validation import Accuracy, Examined
from holdfast.training.watching import Watch
from training.run_toys import ROBUST, after, left, recipe_in, run, write_files

CPU = Options(device="cpu")


@pytest.fixture(name="here")
def _here(tmp_path):
    write_files(tmp_path)
    return tmp_path


def kinds(events):
    return [type(event) for event in events]


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def test_a_run_tells_what_happens_in_order(here):
    events = run(recipe_in(here), here / "run")
    epoch = [Stepped] * 4 + [Validated]

    assert kinds(events) == [Started, Noted, Validated, *epoch, *epoch, *epoch, Finished]
    assert (events[0].step, events[0].steps) == (0, 12)
    assert [one.step for one in of(Stepped, events)] == list(range(1, 13))
    assert [one.row["epoch"] for one in of(Validated, events)] == [0, 1, 2, 3]


def test_a_run_leaves_its_files(here):
    recipe = recipe_in(here, train={"objective": ROBUST}, validate={"train_n": 10})
    events = run(recipe, here / "run", command="holdfast train run x")
    told = read_training(here / "run")
    rows = read_curves(here / "run").to_dicts()

    assert {path.name for path in (here / "run").iterdir()} == {
        "recipe.yaml",
        "run.json",
        "curves.jsonl",
        "best.safetensors",
        "last.safetensors",
        "model.json",
        "checkpoint.safetensors",
    }
    assert rows == [one.row for one in of(Validated, events)]
    assert [row["train_n"] for row in rows] == [10] * 4
    assert rows[0]["loss"] is None
    assert all(row["loss"] > 0 and row["gradient_norm"] > 0 for row in rows[1:])
    assert all(row["learning_rate"] == 0.1 and row["radius_factor"] == 1 for row in rows[1:])
    assert load_recipe(here / "run" / "recipe.yaml") == recipe == read_recipe(here / "run")
    assert told == events[-1].training
    assert (told.status, told.reason, told.steps, told.epochs) == ("finished", "", 12, 3)
    assert (told.images, told.validation_images, told.classes) == (30, 10, 2)
    assert told.digest == recipe.digest
    assert told.command == "holdfast train run x"
    assert told.versions["torch"] == torch.__version__.partition("+")[0]
    assert told.machine["device"] == "cpu"
    assert told.machine["processes"] == 1
    assert told.score.startswith("robust accuracy under pgd(norm=linf, eps=0.02, steps=10")
    assert told.weights_digest == digest_state(load_file(here / "run" / "best.safetensors"))
    assert told.resumed == 0


def test_the_loss_of_a_row_is_the_mean_over_the_images_of_its_epoch(here):
    events = run(recipe_in(here), here / "run")
    steps = of(Stepped, events)[4:8]
    sizes = [8, 8, 8, 6]

    mean = sum(one.loss * size for one, size in zip(steps, sizes, strict=True)) / 30
    assert of(Validated, events)[2].row["loss"] == pytest.approx(mean)


def test_measuring_less_often_leaves_out_rows_but_never_the_last(here):
    few = run(recipe_in(here, train={"epochs": 5}, validate={"every": 2}), here / "few")
    all_rows = run(recipe_in(here, train={"epochs": 5}), here / "all")

    assert [one.row["epoch"] for one in of(Validated, few)] == [0, 2, 4, 5]
    losses = [one.row["loss"] for one in of(Validated, all_rows)]
    # The row says the mean since the row before.
    assert of(Validated, few)[1].row["loss"] == pytest.approx((losses[1] + losses[2]) / 2)


def test_a_finished_run_is_not_run_again(here):
    recipe = recipe_in(here)
    first = run(recipe, here / "run")[-1]
    before = {path: path.stat().st_mtime_ns for path in (here / "run").iterdir()}
    (here / "a.npz").unlink()  # nothing is even looked at

    assert run(recipe, here / "run") == [first]
    assert list(resume(here / "run", CPU)) == [first]
    assert before == {path: path.stat().st_mtime_ns for path in (here / "run").iterdir()}


def test_the_best_weights_are_those_of_the_best_robust_score_and_the_last_are_kept_too(here):
    write_files(here, seed=1)
    sections = {
        "data": {"validation": 0.5},
        "optimizer": {"lr": 0.02},
        "train": {"objective": "adversarial(attack=pgd(eps=0.01, steps=1))", "epochs": 6},
    }
    recipe = recipe_in(here, **sections)
    events = run(recipe, here / "run")
    rows = [one.row for one in of(Validated, events)][1:]
    robust = [row["validation_robust"] for row in rows]
    clean = [row["validation_accuracy"] for row in rows]
    best = robust.index(max(robust)) + 1
    told = read_training(here / "run")

    # Else this shows nothing.
    assert best not in (6, clean.index(max(clean)) + 1)
    assert (told.best_epoch, told.best_score) == (best, max(robust))
    # A constant rate makes a shorter run the beginning of a longer one.
    shorter = recipe_in(here, **{**sections, "train": {**sections["train"], "epochs": best}})
    run(shorter, here / "shorter")
    assert same(here / "run" / "best.safetensors", here / "shorter" / "last.safetensors")
    assert not same(here / "run" / "last.safetensors", here / "run" / "best.safetensors")
    prepared = prepare(recipe, device="cpu")
    found = prepared.validation.accuracy(
        load_model(str(here / "run"), device="cpu"), recipe.robust_attack
    )
    assert found == Accuracy(clean[best - 1], robust[best - 1], 20)
    assert [one.best for one in of(Validated, events)] == [
        step > 0 and score > max(robust[: step - 1], default=-1)
        for step, score in enumerate([0.0, *robust])
    ]


def same(one, two):
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_the_folder_is_a_model_as_soon_as_there_is_a_best(here):
    looked = 0
    for event in train(recipe_in(here), here / "run", CPU):
        if isinstance(event, Validated) and event.best:
            net = load_model(str(here / "run"), device="cpu").net
            assert digest_state(net.state_dict()) == digest_state(
                load_file(here / "run" / "best.safetensors")
            )
            looked += 1
        elif not looked:
            assert not (here / "run" / "model.json").exists()

    assert looked


def test_without_robust_score_the_clean_one_decides(here):
    recipe = recipe_in(here, train={"epochs": 6})
    events = run(recipe, here / "run")
    clean = [one.row["validation_accuracy"] for one in of(Validated, events)][1:]
    told = read_training(here / "run")

    assert told.score == "accuracy"
    assert told.best_epoch == clean.index(max(clean)) + 1
    assert {one.row["validation_robust"] for one in of(Validated, events)} == {None}


def test_without_validation_the_last_weights_are_the_model(here):
    recipe = recipe_in(here, data={"validation": None})
    run(recipe, here / "run", save_every=0.0)
    told = read_training(here / "run")

    assert not (here / "run" / "best.safetensors").exists()
    assert (told.best_epoch, told.best_score, told.validation_images) == (None, None, 0)
    assert told.images == 40
    net = load_model(str(here / "run"), device="cpu").net
    last = load_file(here / "run" / "last.safetensors")
    assert digest_state(net.state_dict()) == digest_state(last) == told.weights_digest
    assert summary(here / "run") == []


def test_max_steps_ends_in_the_middle_of_an_epoch_with_a_row(here):
    events = run(recipe_in(here, train={"max_steps": 6}), here / "run")

    assert [one.row["epoch"] for one in of(Validated, events)] == [0, 1, 1.5]
    assert len(of(Stepped, events)) == 6
    assert read_training(here / "run").status == "finished"


def test_another_recipe_in_the_folder_is_refused_with_the_fields_that_differ(here):
    run(recipe_in(here), here / "run")
    before = left(here / "run")
    other = recipe_in(here, train={"epochs": 5}, optimizer={"lr": 0.2})

    with pytest.raises(ChangedInputError) as caught:
        run(other, here / "run")
    text = str(caught.value)
    assert "train.epochs: 3 -> 5" in text
    assert "optimizer.lr: 0.1 -> 0.2" in text
    assert "seed" not in text
    assert "take these fields back" in text
    assert left(here / "run") == before


def test_an_edited_recipe_is_noticed_on_resuming(here):
    run(recipe_in(here), here / "run", stopping=after(2))
    path = here / "run" / "recipe.yaml"
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 4"))

    with pytest.raises(ChangedInputError, match=r"train\.epochs: 3 -> 4"):
        list(resume(here / "run", CPU))
    path.write_text(path.read_text().replace("epochs: 4", "epochs: 3"))
    assert isinstance(list(resume(here / "run", CPU))[-1], Finished)


def test_images_that_have_changed_since_are_refused(here):
    recipe = recipe_in(here)
    run(recipe, here / "run", stopping=after(2))
    write_files(here, seed=1)

    with pytest.raises(ChangedInputError, match=r"images of .* are not those.*began with"):
        run(recipe, here / "run")
    write_files(here)
    assert run(recipe, here / "run")[-1].training.status == "finished"


def test_there_is_nothing_to_resume_in_an_empty_folder(here):
    with pytest.raises(MissingError, match=r"recipe\.yaml"):
        list(resume(here, CPU))


def test_a_file_is_no_folder(here):
    with pytest.raises(BadValueError, match="is a file"):
        run(recipe_in(here), here / "net.py")


RUNS = [
    {"augment": ["flip", "mixup(alpha=0.3)"], "model": {"name": "norms"}},
    {"train": {"ema": 0.7}, "model": {"name": "norms"}, "schedule": {"kind": "onecycle"}},
    {"validate": {"patience": 1}, "train": {"epochs": 9}},
    {"validate": {"every": 2}, "optimizer": {"kind": "adamw", "lr": 0.01}},
    {"protocol": {"kind": "lp_ft", "probe_epochs": 1}, "schedule": {"kind": "cosine"}},
    {"train": {"objective": ROBUST}, "model": {"name": "norms"}},
    {"train": {"objective": ROBUST, "step": "free(replays=2)", "max_steps": 10}},
    {"data": {"validation": None}},
]


@pytest.mark.parametrize("sections", RUNS, ids=str)
@pytest.mark.parametrize(
    "steps",
    [3, pytest.param(4, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow)],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(here, sections, steps):
    recipe = recipe_in(here, **sections)
    run(recipe, here / "whole")
    sessions = 0
    while True:  # one session after the other, each of so many steps
        last = run(recipe, here / "parts", stopping=after(steps))[-1].training
        if last.status != "interrupted":
            break
        assert last.reason == "interrupted by a test"
        sessions += 1

    assert sessions == last.resumed
    assert sessions >= 2
    assert left(here / "whole") == left(here / "parts")


def test_a_run_that_goes_on_says_where(here):
    recipe = recipe_in(here)
    first = run(recipe, here / "run", stopping=after(5))[-1].training
    events = run(recipe, here / "run")
    seconds = read_curves(here / "run")["seconds"].to_list()

    assert seconds == sorted(seconds)
    assert seconds[2] > first.seconds > 0
    assert (events[0].step, events[0].steps, events[0].training.resumed) == (5, 12, 1)
    assert [one.step for one in of(Stepped, events)] == list(range(6, 13))
    assert [one.row["epoch"] for one in of(Validated, events)] == [2, 3]


@pytest.mark.parametrize("save_every", [0.0, pytest.param(1e9, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "sections",
    [
        {},
        pytest.param(RUNS[1], marks=pytest.mark.slow),
        pytest.param(RUNS[2], marks=pytest.mark.slow),
    ],
    ids=["plain", "ema", "patience"],
)
def test_a_run_dropped_at_any_event_ends_as_if_it_had_not_been(here, sections, save_every):
    recipe = recipe_in(here, **sections)
    whole = run(recipe, here / "whole")
    options = Options(device="cpu", save_every=save_every)
    for dropped in range(1, len(whole), 2 if save_every else 1):
        folder = here / f"at {dropped}"
        events = train(recipe, folder, options)
        for _ in range(dropped):
            next(events)
        events.close()
        assert read_training(folder).status == "running"
        run(recipe, folder)

        assert left(here / "whole") == left(folder), dropped


def test_a_run_without_a_checkpoint_begins_again(here):
    recipe = recipe_in(here)
    events = train(recipe, here / "run", CPU)
    for _ in range(5):
        next(events)
    events.close()
    assert not (here / "run" / "checkpoint.safetensors").exists()
    write_files(here, seed=2)  # nothing is left of what was learned from the old ones
    again = run(recipe, here / "run")

    assert again[0].step == 0
    assert again[-1].training.resumed == 0
    assert run(recipe, here / "other")[-1].training.data_fingerprint == (
        again[-1].training.data_fingerprint
    )
    assert left(here / "run") == left(here / "other")


def test_a_damaged_checkpoint_is_named_and_can_be_deleted(here):
    recipe = recipe_in(here)
    run(recipe, here / "whole")
    run(recipe, here / "run", stopping=after(5))
    path = here / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(BadValueError, match=r"checkpoint\.safetensors.*delete it to begin again"):
        run(recipe, here / "run")
    path.unlink()
    run(recipe, here / "run")
    assert left(here / "whole") == left(here / "run")


def scripted(monkeypatch, robust, train_robust=None):
    """Let measurements say what a test wants, in the order in which they are made."""
    held = iter([0.5, *robust])
    trained = iter([0.5, *(train_robust or robust)])

    def accuracy(self, classifier, attack):
        found = next(trained) if len(self.labels) == 20 else next(held)
        return Accuracy(0.9, found, len(self.labels))

    monkeypatch.setattr(Examined, "accuracy", accuracy)


def test_patience_ends_a_run(here, monkeypatch):
    scripted(monkeypatch, [0.6, 0.7, 0.7, 0.65, 0.9])
    recipe = recipe_in(here, train={"epochs": 5}, validate={"patience": 2, "train_n": 20})
    events = run(recipe, here / "run")
    told = events[-1].training

    assert (told.status, told.epochs, told.best_epoch, told.best_score) == ("stopped", 4, 2, 0.7)
    assert "0.700 of epoch 2" in told.reason
    assert "validate.patience" in told.reason
    assert run(recipe, here / "run") == [events[-1]]


def test_a_better_score_renews_patience(here, monkeypatch):
    scripted(monkeypatch, [0.6, 0.5, 0.7, 0.5, 0.8])
    recipe = recipe_in(here, train={"epochs": 5}, validate={"patience": 2, "train_n": 20})

    assert run(recipe, here / "run")[-1].training.status == "finished"


def test_a_signal_at_the_step_that_ends_a_run_early_adds_no_step(here, monkeypatch):
    recipe = recipe_in(here, train={"epochs": 5}, validate={"patience": 1, "train_n": 20})
    scripted(monkeypatch, [0.6, 0.5])
    run(recipe, here / "whole")
    scripted(monkeypatch, [0.6, 0.5])
    run(recipe, here / "run", stopping=after(8))
    run(recipe, here / "run")

    assert left(here / "whole") == left(here / "run")


FAST = "fast(attack=fgsm(eps=0.05))"


@pytest.mark.parametrize("ends", [False, True])
def test_catastrophic_overfitting_is_flagged_and_ends_a_run_if_wanted(here, monkeypatch, ends):
    scripted(monkeypatch, [0.5] * 4, [0.55, 0.6, 0.3, 0.3])
    recipe = recipe_in(
        here,
        train={"objective": FAST, "epochs": 4, "stop_on_overfitting": ends},
        validate={"train_n": 20},
    )
    told = run(recipe, here / "run")[-1].training

    assert told.flags == ("catastrophic_overfitting",)
    assert told == read_training(here / "run")
    assert (told.status, told.epochs) == (("stopped", 3) if ends else ("finished", 4))
    assert ("fell from 0.600 to 0.300" in told.reason) is ends


def row(step, train_robust):
    return {
        "step": step,
        "epoch": float(step),
        "train_robust": train_robust,
        "validation_robust": None,
        "validation_accuracy": 0.5,
    }


@pytest.mark.parametrize(
    ("objective", "scores", "flagged"),
    [
        (FAST, [0.1, 0.5, 0.31], False),
        (FAST, [0.1, 0.5, 0.29], True),
        (FAST, [0.6, 0.5, 0.39], True),  # against the best so far
        (FAST, [0.5, None, 0.2], True),
        (ROBUST, [0.1, 0.5, 0.1], False),  # several steps are not overfitted so
    ],
)
def test_catastrophic_overfitting_is_a_fall_by_twenty_points(here, objective, scores, flagged):
    watch = Watch(recipe_in(here, train={"objective": objective}))
    for step, score in enumerate(scores):
        watch.take(row(step, score))

    assert watch.flags == ({"catastrophic_overfitting"} if flagged else set())


def test_a_watch_is_what_it_was_after_json(here):
    recipe = recipe_in(
        here,
        train={"objective": FAST, "stop_on_overfitting": True},
        validate={"patience": 1},
    )
    watch, again = Watch(recipe), Watch(recipe)
    for step, score in enumerate([0.5, 0.6, 0.2]):
        watch.take(row(step, score))
    again.restore(json.loads(json.dumps(watch.state())))

    assert vars(again) == vars(watch)
    assert again.stop


def exploding(here, **train_fields):
    """The rate becomes absurd in the second epoch."""
    return recipe_in(
        here,
        train=train_fields,
        optimizer={"lr": 0.1},
        schedule={"kind": "step", "milestones": [1], "gamma": 1e30},
    )


def test_a_run_that_diverges_keeps_what_was_good(here):
    recipe = exploding(here)
    with pytest.raises(DivergedError, match=r"epoch 2.*best weights, of epoch 1"):
        run(recipe, here / "run", save_every=0.0)
    told = read_training(here / "run")

    assert (told.status, told.flags) == ("failed", ("diverged",))
    assert "lower optimizer.lr" in told.reason.lower()
    assert [row["epoch"] for row in read_curves(here / "run").to_dicts()] == [0, 1]
    net = load_model(str(here / "run"), device="cpu").net
    assert digest_state(net.state_dict()) == digest_state(
        load_file(here / "run" / "best.safetensors")
    )
    # The same recipe fails the same way from its checkpoint.
    with pytest.raises(DivergedError, match="epoch 2"):
        run(recipe, here / "run")
    assert read_training(here / "run").status == "failed"


def test_a_run_that_diverges_at_once_says_that_there_is_nothing(here):
    recipe = recipe_in(here, optimizer={"lr": 1e30})
    with pytest.raises(DivergedError, match=r"The last weights are in .*; delete"):
        run(recipe, here / "run")
    rows = read_curves(here / "run").to_dicts()

    assert [row["epoch"] for row in rows] == [0]
    assert math.isfinite(rows[0]["validation_accuracy"])
    assert load_model(str(here / "run"), device="cpu").classes == 2  # as before that step


def test_after_a_failure_another_recipe_is_told_to_take_a_new_folder(here):
    with pytest.raises(DivergedError):
        run(recipe_in(here, optimizer={"lr": 1e30}), here / "run")
    with pytest.raises(ChangedInputError) as caught:
        run(recipe_in(here), here / "run")
    text = str(caught.value)

    assert "optimizer.lr: 1e+30 -> 0.1" in text
    assert "has failed: delete the folder, or choose another" in text
    assert "take these fields back" not in text


def test_what_a_person_should_know_is_told_and_recorded(here):
    # A picture that cannot be read.
    folder = here / "pictures"
    for name in ("up", "down"):
        (folder / name).mkdir(parents=True)
    for place in range(6):
        for name, level in (("up", 200), ("down", 30)):
            Image.new("RGB", (8, 8), (level, level, place)).save(folder / name / f"{place}.png")
    (folder / "up" / "broken.png").write_text("no picture")
    recipe = recipe_in(
        here,
        data={"name": f"folder:{folder}", "validation": None},
        train={"epochs": 1, "batch_size": 4},
    )
    events = run(recipe, here / "run")

    assert [one.text for one in of(Noted, events)] == list(events[-1].training.notes)
    assert len(of(Noted, events)) == 1
    assert "cannot be read" in of(Noted, events)[0].text
