"""Recipes: what people write, and what it means."""

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import HoldfastError
from holdfast.core.nested import dotted
from holdfast.training.objectives import OBJECTIVES
from holdfast.training.presets import PRESETS, preset
from holdfast.training.reading import (
    body_of,
    known_fields,
    load_recipe,
    override,
    read_body,
    recipe_of,
    write_recipe,
)
from holdfast.training.recipe import Recipe, changed_fields

LEAST = {"data": {"name": "digits"}, "model": {"name": "small:cnn"}}


def of(*overrides, **sections):
    """The shortest recipe with sections and then fields replaced."""
    return recipe_of(override({**LEAST, **sections}, overrides))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_written_and_read_is_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    path = tmp_path / "recipe.yaml"
    path.write_text(write_recipe(recipe))

    assert recipe == load_recipe(path)
    assert recipe.digest == load_recipe(path).digest


def test_no_two_presets_are_one_recipe():
    assert len(PRESETS) == len({load_recipe(name).digest for name in PRESETS})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_is_and_cannot_be_spoiled(name):
    digest = load_recipe(name).digest
    body = preset(name).body
    body["train"]["epochs"] = 999
    body["data"].clear()

    assert preset(name).about and preset(name).source
    assert digest == load_recipe(name).digest


NUMBERS = ["1e-3", "1E-3", "1.e-3", "0.001", "1.0e-3", "+1e-3", ".1e-2", '"1e-3"']


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_one_however_it_is_written(text):
    read = recipe_of({**LEAST, **read_body(f"optimizer: {{lr: {text}}}", "here")})

    assert 1e-3 == read.optimizer.lr == of(f"optimizer.lr={text}").optimizer.lr
    assert read.digest == of("optimizer.lr=0.001").digest


def test_powers_of_ten_are_no_texts_where_a_text_could_be_meant():
    assert 0.1 == of("data.validation=1e-1").data.validation
    assert "test" == of("data.validation=test").data.validation
    assert of("train.objective=trades", "train.beta=6e0") == of("train.objective=trades(beta=6)")


LISTS = [
    "augment: [flip, affine(degrees=10, shift=0.08), mixup(alpha=0.3)]",
    "augment:\n  - flip\n  - affine(degrees=10, shift=0.08)\n  - mixup(alpha=0.3)",
    "augment: flip, affine(degrees=10, shift=0.08), mixup(alpha=0.3)",
    'augment: "[flip, affine(degrees=10, shift=0.08), mixup(alpha=0.3)]"',
    "augment: ['flip(p=0.5)', 'affine(shift=0.080, degrees=10)', mixup(alpha=0.30)]",
]


@pytest.mark.parametrize("text", LISTS)
def test_augmentations_may_be_written_in_any_form_of_a_list(text):
    recipe = recipe_of({**LEAST, **read_body(text, "here")})

    assert 3 == len(recipe.augment)
    assert recipe == of(augment=["flip", "affine(degrees=10, shift=0.08)", "mixup"])
    assert recipe == of("augment=[flip, affine(degrees=10, shift=0.08), mixup(alpha=0.3)]")


@pytest.mark.parametrize("text", ["null", "[]", "", "~"])
def test_no_augmentation_may_be_written_in_any_form_too(text):
    assert () == of(f"augment={text}", augment=["flip"]).augment
    assert () == of(augment=None).augment


SAME = [
    (["train.objective=trades", "train.beta=6"], ["train.objective=trades(beta=6.0)"]),
    (["train.beta=6", "train.objective=trades"], ["train.objective=trades( beta = 6 )"]),
    (
        ["train.objective=trades(beta=1)", "train.beta=6"],  # what stands alone wins
        ["train.objective=trades(beta=6)"],
    ),
    (
        ["train.objective=adversarial", "train.attack=pgd(eps=8/255, norm=linf)"],
        ["train.objective=adversarial(attack=pgd(norm=linf, eps=8/255))"],
    ),
    (
        ["train.objective=gaussian_noise", "train.sigma=51/255"],
        ["train.objective=gaussian_noise(sigma=0.2)"],
    ),
    (["train.step=plain"], []),
    (
        ["train.objective=adversarial", "train.step=free(replays=8)"],
        ["train.objective=adversarial", "train.step=free"],
    ),
    (["data.size=32"], ["data.size=[32, 32]"]),
    (["optimizer.weight_decay=0"], ["optimizer.weight_decay=0.0"]),
    (["protocol.kind=scratch"], ["protocol.kind=scratch", "model.pretrained=false"]),
    (["augment=flip"], ["augment=[flip(p=0.5)]"]),
    (["schedule.milestones=[3]"], ["schedule.milestones=[3.0]"]),
    (["train.epochs = 3"], ["train.epochs=3"]),
    (["train.epochs=5", "train.epochs=3"], ["train.epochs=3"]),  # the last one wins
    (["validate.attack=pgd"], ["validate.attack=pgd()"]),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_the_spelling_does_not_change_the_digest(one, other):
    assert of(*one) == of(*other)
    assert of(*one).digest == of(*other).digest


# A value of each field that is not its default; several where others have to go with it.
CHANGES = {
    "data.name": ["data.name=cifar10"],
    "data.split": ["data.split=test"],
    "data.validation": ["data.validation=null"],
    "data.validation_name": ["data.validation=test", "data.validation_name=cifar10"],
    "data.labels": ["data.labels=names.txt"],
    "data.n": ["data.n=100"],
    "data.size": ["data.size=[24, 32]"],
    "data.resize": ["data.resize=squash"],
    "model.name": ["model.name=timm:resnet18"],
    "model.weights": ["model.weights=w.pth"],
    "model.pretrained": ["model.pretrained=false"],
    "model.part": ["model.part=all"],
    "model.mean": ["model.mean=[0.4, 0.5, 0.5]", "model.std=[1, 1, 1]"],
    "model.std": ["model.mean=[0, 0, 0]", "model.std=[0.4, 0.5, 0.5]"],
    "protocol.kind": ["protocol.kind=linear_probe"],
    "protocol.blocks": ["protocol.blocks=2"],
    "protocol.probe_epochs": ["protocol.kind=lp_ft", "protocol.probe_epochs=3"],
    "protocol.freeze_bn": ["protocol.freeze_bn=true"],
    "augment": ["augment=flip"],
    "train.objective": ["train.objective=cross_entropy(smoothing=0.1)"],
    "train.step": ["train.step=awp"],
    "train.epochs": ["train.epochs=11"],
    "train.batch_size": ["train.batch_size=64"],
    "train.max_steps": ["train.max_steps=64"],
    "train.micro_batch": ["train.micro_batch=64"],
    "train.crafting": ["train.crafting=train"],
    "train.eps_schedule": ["train.eps_schedule=linear"],
    "train.eps_share": ["train.eps_share=0.4"],
    "train.stop_on_overfitting": ["train.stop_on_overfitting=true"],
    "train.clip": ["train.clip=1"],
    "train.ema": ["train.ema=0.9"],
    "train.precision": ["train.precision=bfloat16"],
    "optimizer.kind": ["optimizer.kind=sgd"],
    "optimizer.lr": ["optimizer.lr=0.1"],
    "optimizer.head_lr": ["optimizer.head_lr=0.1"],
    "optimizer.weight_decay": ["optimizer.weight_decay=0.1"],
    "optimizer.head_weight_decay": ["optimizer.head_weight_decay=0.1"],
    "optimizer.decay_all": ["optimizer.decay_all=true"],
    "optimizer.momentum": ["optimizer.momentum=0.8"],
    "optimizer.nesterov": ["optimizer.nesterov=true"],
    "optimizer.betas": ["optimizer.betas=[0.9, 0.95]"],
    "schedule.kind": ["schedule.kind=onecycle"],
    "schedule.every": ["schedule.every=epoch"],
    "schedule.warmup": ["schedule.warmup=1"],
    "schedule.end": ["schedule.end=0.1"],
    "schedule.milestones": ["schedule.milestones=[3, 5]"],
    "schedule.gamma": ["schedule.gamma=0.2"],
    "schedule.peak": ["schedule.peak=0.4"],
    "validate.every": ["validate.every=2"],
    "validate.n": ["validate.n=100"],
    "validate.train_n": ["validate.train_n=0"],
    "validate.attack": ["validate.attack=null"],
    "validate.patience": ["validate.patience=3"],
    "seed": ["seed=1"],
}


def test_every_field_is_tested():
    assert set(CHANGES) == set(known_fields()) == set(dotted(of().body()))


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_changes_the_digest(field):
    plain, changed = of(), of(*CHANGES[field])
    named = {line.partition(":")[0] for line in changed_fields(plain, changed)}
    typed = {text.partition("=")[0] for text in CHANGES[field]}

    assert plain.digest != changed.digest
    assert field in named and named == typed
    assert typed - set(changed.changed) == {
        name for name in typed if name.startswith(("data.", "model."))
    }


def test_what_was_changed_is_told_with_both_values():
    assert ["train.epochs: 10 -> 5"] == changed_fields(of(), of("train.epochs=5"))
    assert () == of().changed
    assert ("train.epochs", "seed") == of("seed=3", "train.epochs=5").changed


def test_the_digest_survives_being_written():
    assert 64 == len(of().digest)
    assert of().digest == recipe_of(read_body(write_recipe(of()), "here")).digest


def test_python_and_yaml_are_one():
    built = Recipe.model_validate(
        {**LEAST, "validate_with": {"n": 9}, "train": {"objective": "trades", "beta": 6}}
    )

    assert built == of("validate.n=9", "train.objective=trades(beta=6)")


def test_a_recipe_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        of().seed = 3
    with pytest.raises(ValueError, match="frozen"):
        of().train.epochs = 3


def test_overrides_leave_what_they_are_given_as_it_is():
    body = {**LEAST, "train": {"epochs": 3}}
    changed = override(body, ["train.epochs=5", "optimizer.lr=1", "seed=4"])

    assert {**LEAST, "train": {"epochs": 3}} == body
    assert {"train": {"epochs": 5}, "optimizer": {"lr": 1}, "seed": 4} == {
        key: value for key, value in changed.items() if key not in LEAST
    }


def test_a_section_of_nothing_but_comments_is_as_if_it_were_not_there(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(LEAST) + "train:\n  # epochs: 3\n")

    assert of() == load_recipe(path)
    assert of("train.epochs=3") == load_recipe(path, ["train.epochs=3"])
    assert {**LEAST, "train": None} == body_of(path)


ATTACKS = [
    ([], None),
    (["train.objective=trades"], "pgd(norm=linf, eps=8/255, steps=10"),
    (
        ["train.objective=adversarial(attack=pgd(norm=l2, eps=0.5, steps=3))"],
        "pgd(norm=l2, eps=0.5, steps=10",
    ),
    (["train.objective=adversarial(attack=pgd(eps=0))"], None),
    (["validate.attack=fgsm(eps=2/255)"], "fgsm("),
    (["train.objective=trades", "validate.attack=null"], None),
]


@pytest.mark.parametrize(("texts", "expected"), ATTACKS, ids=str)
def test_the_attack_of_the_score_has_the_radius_of_the_objectives(texts, expected):
    found = of(*texts).robust_attack

    assert (found is None) == (expected is None)
    assert found is None or found.text.startswith(expected)


@given(st.sampled_from(sorted(CHANGES)), st.text(max_size=12))
def test_whatever_is_typed_is_read_or_refused_by_us(field, text):
    try:
        found = of(f"{field}={text}")
    except HoldfastError:
        return
    assert found.digest == recipe_of(read_body(write_recipe(found), "here")).digest


@given(st.text(max_size=12))
def test_any_override_is_read_or_refused_by_us(text):
    with contextlib.suppress(HoldfastError):
        assert set(LEAST) <= set(override(LEAST, [text]))


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_any_rate_is_kept_to_the_last_digit(rate):
    found = of(f"optimizer.lr={rate!r}")

    assert rate == found.optimizer.lr
    assert rate == recipe_of(read_body(write_recipe(found), "here")).optimizer.lr


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_its_own_recipe(name):
    assert OBJECTIVES[name]().spec == of(f"train.objective={name}").train.objective
