import logging

import pytest
import torch
from attacks.crowd import Curved, images_of
from torch import nn

from holdfast.compat import AutoAttack
from holdfast.core.errors import BadValueError, ChangedInputError, HoldfastError
from holdfast.perturb.attacks.autoattack import AutoAttack as Ensemble
from holdfast.perturb.attacks.craft import craft

SHAPE, CLASSES, COUNT = (3, 8, 8), 5, 20
MODEL = Curved(SHAPE, CLASSES).eval()
IMAGES = images_of(SHAPE, COUNT)
LABELS = MODEL(IMAGES).argmax(1)
LABELS[:2] = (LABELS[:2] + 1) % CLASSES
WEAK = 2 / 255  # at which some samples stand


def adversary(model=MODEL, **options):
    """Two short attacks."""
    usual = {"eps": WEAK, "version": "custom", "device": "cpu", "verbose": False}
    made = AutoAttack(model, **{**usual, "attacks_to_run": ["apgd-ce", "square"], **options})
    made.apgd.n_iter, made.apgd.n_restarts = 5, 1
    made.square.n_queries = 10
    return made


class Counting:
    """The model, and how often and what it was shown; stops after some calls if asked to."""

    def __init__(self, stop_after=None):
        self.rows, self.largest, self.calls, self.stop_after = 0, 0, 0, stop_after
        self.gradients = 0

    def __call__(self, images):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.rows += len(images)
        self.largest = max(self.largest, len(images))
        self.gradients += len(images) * images.requires_grad
        return MODEL(images)


class Dropping(nn.Module):
    """Random in training mode."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return MODEL(self.drop(images))


# As published in the README and examples/eval.py of fra31/auto-attack, but for the import.
STANDARD = """
from autoattack import AutoAttack
adversary = AutoAttack(forward_pass, norm='Linf', eps=epsilon, version='standard', device='cpu')
x_adv = adversary.run_standard_evaluation(images, labels, bs=batch_size)
"""
EXAMPLE = """
from autoattack import AutoAttack
adversary = AutoAttack(model, norm='Linf', eps=epsilon, log_path=log, version='standard',
                       device='cpu')
adversary.attacks_to_run = ['apgd-ce', 'fab']
adversary.apgd.n_restarts = 2
adversary.fab.n_restarts = 2
with torch.no_grad():
    x_adv, y_adv = adversary.run_standard_evaluation(images, labels, bs=batch_size,
                                                     return_labels=True, state_path=state)
"""
INDIVIDUAL = """
from autoattack import AutoAttack
adversary = AutoAttack(model, norm='L2', eps=1.0, version='custom', device='cpu',
                       attacks_to_run=['apgd-ce', 'apgd-dlr'])
dict_adv = adversary.run_standard_evaluation_individual(images, labels, bs=batch_size)
"""


def run(script, **others):
    """Run a published script with its import changed."""
    scope = {"forward_pass": MODEL, "model": MODEL, "images": IMAGES, "labels": LABELS}
    scope |= {"epsilon": 16 / 255, "batch_size": 16, "torch": torch, **others}
    exec(script.replace("autoattack import", "holdfast.compat import"), scope)  # noqa: S102
    return scope


def test_the_standard_script_runs():
    adversarial = run(STANDARD)["x_adv"]

    assert not bool((MODEL(adversarial).argmax(1) == LABELS).any())
    assert float((adversarial - IMAGES).abs().max()) <= 16 / 255 + 1e-6


def test_the_example_script_runs(tmp_path):
    scope = run(EXAMPLE, log=tmp_path / "log.txt", state=tmp_path / "state.json")

    assert scope["y_adv"].equal(MODEL(scope["x_adv"]).argmax(1))
    assert "robust accuracy after APGD-CE: 0.00%" in (tmp_path / "log.txt").read_text()


def test_the_script_of_single_attacks_runs():
    found = run(INDIVIDUAL)["dict_adv"]

    assert ["apgd-ce", "apgd-dlr"] == list(found)
    assert not found["apgd-ce"].equal(found["apgd-dlr"])
    for adversarial in found.values():
        assert int((MODEL(adversarial).argmax(1) != LABELS).sum()) > 2


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_standard_stands_for_the_attacks_of_the_ensemble(norm):
    attacks = AutoAttack(MODEL, norm=norm, eps=0.5, device="cpu", verbose=False).attacks()

    assert Ensemble(norm=norm.lower(), eps=0.5).attacks == attacks


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_plus_stands_for_the_attacks_of_the_ensemble(norm):
    attacks = AutoAttack(MODEL, norm=norm, eps=0.5, version="plus", device="cpu").attacks()

    assert Ensemble(norm=norm.lower(), eps=0.5, version="plus").attacks == attacks


def test_rand_averages_over_twenty_draws():
    first, second = AutoAttack(MODEL, version="rand", device="cpu").attacks()

    assert (20, 20) == (first.repeats, second.repeats)
    assert ("cross_entropy", "dlr") == (first.loss, second.loss)


def gradients_of(eot_iter=None, **options):
    """Images shown with a gradient while one that stands is attacked in passes of one image."""
    model = Counting()
    made = AutoAttack(model, eps=1e-6, device="cpu", verbose=False, **options)
    made.apgd.n_iter, made.apgd.n_restarts = 5, 1
    if eot_iter is not None:
        made.apgd.eot_iter = eot_iter
    made.run_standard_evaluation(IMAGES[2:3], LABELS[2:3], bs=1)
    return model.gradients


def test_each_gradient_is_the_mean_of_as_many_draws_as_eot_iter_says():
    custom = {"version": "custom", "attacks_to_run": ["apgd-ce"]}

    assert 3 * gradients_of(eot_iter=1, **custom) == gradients_of(eot_iter=3, **custom)


def test_a_gradient_of_version_rand_is_the_mean_of_twenty_draws():
    losses = {"version": "custom", "attacks_to_run": ["apgd-ce", "apgd-dlr"]}

    assert 20 * gradients_of(eot_iter=1, **losses) == gradients_of(version="rand")


def test_the_verdict_is_that_of_the_engine():
    images = AutoAttack(MODEL, eps=16 / 255, device="cpu", verbose=False).run_standard_evaluation(
        IMAGES, LABELS
    )

    assert craft("autoattack(eps=16/255)", MODEL, IMAGES, LABELS).images.equal(images)


def test_changed_settings_reach_the_attacks():
    made = AutoAttack(MODEL, device="cpu")
    made.apgd.n_restarts, made.apgd.n_iter, made.apgd.rho = 2, 7, 0.5
    made.apgd_targeted.n_target_classes, made.fab.n_target_classes = 3, 4
    made.square.n_queries, made.square.p_init = 11, 0.3
    made.epsilon = 0.25
    ce, targeted, fab, square = made.attacks()

    assert (2, 7, 0.5) == (ce.restarts, ce.steps, ce.rho)
    assert (3, 4) == (targeted.targets, fab.targets)
    assert (11, 0.3) == (square.queries, square.p_init)
    assert {0.25} == {float(part.eps) for part in (ce, targeted, fab, square)}


def test_settings_without_an_effect_may_be_set():
    made = AutoAttack(MODEL, device="cpu")
    before = made.attacks()
    made.apgd.verbose = made.fab.targeted = True
    made.square.seed = 3
    made.square.resc_schedule = False

    assert before == made.attacks()


@pytest.mark.parametrize(
    ("norm", "version", "expected"),
    [
        ("Linf", "standard", (1, 1, False, 1, 9, 1, 9, 5000)),
        ("Linf", "plus", (5, 1, False, 1, 9, 5, 9, 5000)),
        ("Linf", "rand", (1, 20, False, 1, 9, 1, 9, 5000)),
        ("L1", "standard", (5, 1, True, 1, 5, 1, 9, 5000)),
        ("L1", "plus", (5, 1, False, 1, 9, 5, 9, 5000)),
    ],
)
@pytest.mark.parametrize("before", ["standard", "plus", "rand"])
def test_a_version_has_its_settings_whichever_came_before(norm, version, expected, before):
    made = AutoAttack(MODEL, norm=norm, version=before, device="cpu")
    made.set_version(version)
    found = (
        *(made.apgd.n_restarts, made.apgd.eot_iter, made.apgd.use_largereps),
        *(made.apgd_targeted.n_restarts, made.apgd_targeted.n_target_classes),
        *(made.fab.n_restarts, made.fab.n_target_classes, made.square.n_queries),
    )

    assert expected == found


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_a_norm_that_is_set_later_is_read_in_any_case(norm):
    first, second = (adversary() for _ in range(2))
    first.norm, second.norm = norm, norm.lower()

    assert first.attacks() == second.attacks()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: setattr(made.apgd, "n_restart", 2), "did you mean n_restarts"),
        (lambda made: setattr(made.fab, "alpha_max", 0.5), "fab.alpha_max is always 0.1 here"),
        (lambda made: setattr(made.square, "resc_schedule", True), "is always False here"),
        (lambda made: setattr(made.apgd, "eps", 0.5), "apgd.eps is always"),
        (lambda made: made.set_version("best"), "no version named 'best'"),
    ],
)
def test_a_setting_that_cannot_be_changed_is_told(change, words):
    with pytest.raises(HoldfastError, match=words):
        change(AutoAttack(MODEL, device="cpu"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "Linfty"}, "did you mean Linf"),
        ({"version": "standart"}, "did you mean standard"),
        ({"version": "standard", "attacks_to_run": ["apgd-ce"]}, "goes with version='custom'"),
        ({"version": "custom", "attacks_to_run": ["apgd"]}, "did you mean apgd-"),
        ({"version": "custom"}, "attacks_to_run is empty"),
        ({"is_tf_model": True}, "torch tensors"),
        ({"eps": 8}, "did you mean 8/255"),
    ],
)
def test_wrong_arguments_are_told(options, words):
    with pytest.raises(HoldfastError, match=words):
        AutoAttack(MODEL, device="cpu", verbose=False, **options).run_standard_evaluation(
            IMAGES, LABELS
        )


@pytest.mark.parametrize("eot_iter", [0, 2.5])
def test_draws_that_are_no_whole_number_from_one_are_refused(eot_iter):
    made = adversary()
    made.apgd.eot_iter = eot_iter
    with pytest.raises(HoldfastError, match=r"eot_iter\) must be"):
        made.run_standard_evaluation(IMAGES, LABELS)


def test_a_radius_of_none_is_refused():
    made = adversary()
    made.epsilon = None
    with pytest.raises(HoldfastError, match="epsilon must be a number"):
        made.run_standard_evaluation(IMAGES, LABELS)


@pytest.mark.parametrize("seed", [1.7, "a"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(HoldfastError, match="seed must be a whole number"):
        adversary(seed=seed).run_standard_evaluation(IMAGES, LABELS)


def test_a_device_that_nobody_knows_is_refused():
    with pytest.raises(BadValueError, match="expected a device such as cpu"):
        AutoAttack(MODEL, device="cudaa")


def test_a_log_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadValueError, match="cannot write the log"):
        adversary(log_path=tmp_path / "nowhere" / "log.txt").run_standard_evaluation(IMAGES, LABELS)


def test_predictions_come_with_the_images_on_request():
    images, predictions = adversary().run_standard_evaluation(IMAGES, LABELS, return_labels=True)

    assert predictions.equal(MODEL(images).argmax(1))
    assert 0 < int((predictions == LABELS).sum()) < COUNT


def test_images_keep_their_type():
    assert torch.float64 == adversary().run_standard_evaluation(IMAGES.double(), LABELS).dtype


def test_the_batch_size_bounds_a_pass():
    model = Counting()
    adversary(model).run_standard_evaluation(IMAGES, LABELS, bs=16)

    assert 16 == model.largest


def test_the_batch_size_changes_no_verdict():
    few, many = (adversary().run_standard_evaluation(IMAGES, LABELS, bs=bs) for bs in (16, 250))

    assert (MODEL(few).argmax(1) == LABELS).equal(MODEL(many).argmax(1) == LABELS)


def test_clean_accuracy_is_that_of_the_images():
    assert 0.9 == adversary().clean_accuracy(IMAGES, LABELS, bs=7)


def test_a_summary_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        images = adversary(verbose=True).run_standard_evaluation(IMAGES, LABELS)
    standing = (MODEL(images).argmax(1) == LABELS).double().mean()
    lines = caplog.text.splitlines()

    assert "initial accuracy: 90.00%" in lines
    assert f"robust accuracy after SQUARE: {standing:.2%}" in lines
    assert f"robust accuracy: {standing:.2%}" == lines[-1]
    assert "max Linf perturbation: 0.00784" in lines


def test_nothing_is_logged_when_nobody_wants_it(caplog, capsys):
    adversary().run_standard_evaluation(IMAGES, LABELS)

    assert ("", "") == (caplog.text, capsys.readouterr().out)


def test_a_module_in_training_mode_is_evaluated_and_warned_of(caplog):
    model = Dropping().train()
    images = adversary(model).run_standard_evaluation(IMAGES, LABELS)

    assert "train_mode: " in caplog.text and "randomized" not in caplog.text
    assert model.training and model.drop.training
    assert images.equal(adversary().run_standard_evaluation(IMAGES, LABELS))


def test_version_rand_leaves_a_random_model_random(caplog):
    model = Dropping().train()
    made = adversary(model, version="rand", attacks_to_run=())
    made.apgd.n_iter = 2
    made.run_standard_evaluation(IMAGES, LABELS)

    assert "randomized: " in caplog.text
    assert model.drop.training


@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator is here")
def test_without_an_accelerator_the_cpu_takes_its_place(caplog):
    made = AutoAttack(MODEL)

    assert "cpu" == made.device.type
    assert "no cuda device here" in caplog.text


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path):
    many = {"x_orig": images_of(SHAPE, 80, seed=1), "bs": 16}
    many["y_orig"] = MODEL(many["x_orig"]).argmax(1)
    whole, rest, path = Counting(), Counting(), tmp_path / "state.bin"
    expected = adversary(whole).run_standard_evaluation(**many)
    late = Counting(stop_after=whole.calls - 8)
    with pytest.raises(KeyboardInterrupt):
        adversary(late).run_standard_evaluation(**many, state_path=path)
    images = adversary(rest).run_standard_evaluation(**many, state_path=path)

    assert 0 < rest.calls < whole.calls // 2
    assert images.equal(expected)


def test_a_finished_evaluation_is_not_run_again(tmp_path):
    path, idle = tmp_path / "state.bin", Counting()
    first = adversary(Counting()).run_standard_evaluation(
        IMAGES, LABELS, return_labels=True, state_path=path
    )
    second = adversary(idle).run_standard_evaluation(
        IMAGES, LABELS, return_labels=True, state_path=path
    )

    assert 0 == idle.rows
    assert first[0].equal(second[0]) and first[1].equal(second[1])


@pytest.mark.parametrize(
    "other",
    [
        lambda: (adversary(eps=3 / 255), IMAGES, LABELS),
        lambda: (adversary(seed=1), IMAGES, LABELS),
        lambda: (adversary(nn.Sequential(nn.Flatten(), nn.Linear(192, 5))), IMAGES, LABELS),
        lambda: (adversary(attacks_to_run=["square"]), IMAGES, LABELS),
        lambda: (adversary(), IMAGES.flip(0), LABELS),
        lambda: (adversary(), IMAGES, LABELS.flip(0)),
    ],
)
def test_the_state_of_another_evaluation_is_refused(tmp_path, other):
    path = tmp_path / "state.bin"
    adversary().run_standard_evaluation(IMAGES, LABELS, state_path=path)
    before = path.read_bytes()
    made, images, labels = other()
    with pytest.raises(HoldfastError, match="state of another evaluation"):
        made.run_standard_evaluation(images, labels, state_path=path)

    assert before == path.read_bytes()


def layered(activation):
    """Small layers whose weights are the same whatever stands between them."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), activation, nn.Linear(4, CLASSES))
    numbers = torch.Generator().manual_seed(7)
    for weight in net.parameters():
        nn.init.normal_(weight, generator=numbers)
    return net.eval()


def test_the_state_of_the_same_weights_between_other_activations_is_refused(tmp_path):
    path = tmp_path / "state.bin"
    adversary(layered(nn.ReLU())).run_standard_evaluation(IMAGES, LABELS, state_path=path)
    with pytest.raises(ChangedInputError, match="state of another evaluation"):
        adversary(layered(nn.Tanh())).run_standard_evaluation(IMAGES, LABELS, state_path=path)


def test_a_file_that_is_no_state_is_refused_and_kept(tmp_path):
    path = tmp_path / "state.json"
    path.write_text('{"_attacks_to_run": ["apgd-ce"]}')
    with pytest.raises(HoldfastError, match="no state of an evaluation"):
        adversary().run_standard_evaluation(IMAGES, LABELS, state_path=path)

    assert '{"_attacks_to_run": ["apgd-ce"]}' == path.read_text()


def test_a_state_that_cannot_be_written_is_told_before_the_work(tmp_path):
    idle = Counting()
    with pytest.raises(HoldfastError, match="cannot write the state"):
        adversary(idle).run_standard_evaluation(
            IMAGES, LABELS, state_path=tmp_path / "nowhere" / "state.bin"
        )

    assert 0 == idle.rows


def shown(eot_iter, **options):
    """Images that the model is shown in a run of APGD on samples that all stand."""
    model = Counting()
    made = adversary(model, eps=1e-6, attacks_to_run=["apgd-ce"], **options)
    made.apgd.eot_iter = eot_iter
    made.run_standard_evaluation(IMAGES[2:], LABELS[2:])
    return model.rows


def test_eot_iter_multiplies_what_the_model_is_shown():
    once, thrice, five_times = (shown(draws) for draws in (1, 3, 5))

    assert thrice - once > 2 * 5 * (COUNT - 2)
    assert thrice - once == five_times - thrice
