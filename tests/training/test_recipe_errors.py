"""Recipes that mean nothing, and what those who wrote them are told."""

import pytest

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.training.reading import load_recipe, override, recipe_of

LEAST = {"data": {"name": "digits"}, "model": {"name": "small:cnn"}}


def of(*overrides, **sections):
    """The shortest recipe with sections and then fields replaced."""
    return recipe_of(override({**LEAST, **sections}, overrides))


def refused(kind, *overrides, **sections):
    with pytest.raises(kind) as found:
        of(*overrides, **sections)
    return str(found.value)


UNKNOWN = [
    ("train.bta=6", {}, "'train.bta'; did you mean train.beta"),
    ("train.lr=6", {}, "'train.lr'; did you mean optimizer.lr"),
    ("epochs=6", {}, "'epochs'; did you mean train.epochs?"),
    ("modl.name=x", {}, "'modl'; did you mean model"),
    ("data.nam=x", {}, "'data.nam'; did you mean data.name"),
    ("validate_with.n=3", {}, "'validate_with'; did you mean validate"),
    ("qqq=3", {}, "'qqq'; known: data.name, "),
    ("seed=0", {"data": {5: 3}}, "'data.5'; did you mean data"),
    ("train.objective=trads", {}, "no objective named 'trads'; did you mean trades?"),
    ("train.step=awq", {}, "no training step named 'awq'; did you mean awp?"),
    ("augment=[flip, crp(padding=4)]", {}, "no augmentation named 'crp'; did you mean crop?"),
    ("augment=crop(paddin=4)", {}, "parameter of augmentation crop named 'paddin'; did you mean"),
    ("validate.attack=pgdd", {}, "no attack named 'pgdd'; did you mean pgd"),
    ("train.attack=pgd(esp=1)", {}, "parameter of attack pgd named 'esp'; did you mean eps"),
]


@pytest.mark.parametrize(("text", "sections", "message"), UNKNOWN)
def test_what_nobody_knows_is_answered_with_the_nearest(text, sections, message):
    train = {"objective": "trades"} if "bta" in text or "attack" in text else {}
    said = refused(UnknownNameError, text, **{"train": train, **sections})

    assert message in said


def test_a_parameter_of_other_objectives_is_said_to_be_theirs():
    said = refused(UnknownNameError, "train.beta=6")

    assert "parameter of the objectives mart, mixture, trades" in said
    assert "set train.objective too" in said


WRONG = [
    ("train.objective=trades(beta=-1)", "trades beta must be at least 0, and finite, got -1.0"),
    ("train.objective=mixture(beta=1.5)", "mixture beta must be"),
    ("train.objective=trades(beta=six)", "trades beta must be a number, got 'six'"),
    ("train.objective=adversarial(attack=pgd(eps=8))", "eps=8.0 is larger.*did you mean 8/255?"),
    ("validate.attack=pgd(eps=8)", "did you mean 8/255?"),
    ("train.objective=5", r"train.objective: expected text such as trades\(beta=6\), got 5"),
    ("train.objective=null", "train.objective: expected text .*, got None"),
    ("train.step=3", "train.step: expected text, got 3"),
    ("train.epochs=0", "train.epochs: expected 1 or more, got 0"),
    ("train.epochs=many", "train.epochs: expected a whole number, got 'many'"),
    ("train.epochs=1.5", "train.epochs: expected a whole number, got 1.5"),
    ("train.epochs=null", "train.epochs: expected a whole number, got None"),
    ("train.epochs=true", "train.epochs: expected no true or false here, got true"),
    ("train.eps_share=1.5", "train.eps_share: expected 1 or less, got 1.5"),
    ("train.eps_share=0", "train.eps_share: expected more than 0, got 0"),
    ("train.ema=1", "train.ema: expected less than 1, got 1"),
    ("train.clip=0", "train.clip: expected more than 0, got 0"),
    ("train.precision=fp16", "'float32', 'bfloat16' or 'float16', got 'fp16'"),
    ("train.stop_on_overfitting=maybe", "expected true or false, got 'maybe'"),
    ("data.validation=0", "data.validation: expected a share between 0 and 1, got 0; null for"),
    ("data.validation=1.5", "share between 0 and 1, got 1.5"),
    ("data.validation=true", "data.validation: expected no true or false here"),
    ("data.validation_name=cifar10", "the name of a split there, got 0.1; write data.validation="),
    ("data.name=", "data.name: expected text, got None"),
    ("data.name=''", "data.name: expected some text, got ''"),
    ("data.n=1", "data.n: expected 2 or more, got 1"),
    ("data.size=[32]", r"data.size: expected pixels, as in 224 or \[224, 160\], got \[32\]"),
    ("data.size=0", "data.size: expected pixels.*got 0"),
    ("data.size=[32, -1]", "data.size: expected pixels"),
    ("data.resize=fit", "'short' or 'squash', got 'fit'"),
    ("model.mean=[0.5, 0.5, 0.5]", "mean and std go together, got mean=.* and std=None; give"),
    ("optimizer.lr=fast", "optimizer.lr: expected a number, got 'fast'"),
    ("optimizer.lr=-1", "optimizer.lr: expected more than 0, got -1"),
    ("optimizer.lr=.inf", "optimizer.lr: expected a finite number, got inf"),
    ("optimizer.weight_decay=.nan", "optimizer.weight_decay: expected a finite number, got nan"),
    (
        "optimizer.betas=[0.9]",
        r"optimizer.betas: expected as many numbers as the default has, got \[0.9\]",
    ),
    ("optimizer.betas=[0.9, 0.9, 0.9]", "optimizer.betas: expected as many numbers"),
    ("optimizer.betas=[0.9, 1.5]", "optimizer.betas: expected less than 1, got 1.5"),
    ("optimizer.betas=0.9", "optimizer.betas: expected a list"),
    ("optimizer.kind=adm", "optimizer.kind: expected 'sgd', 'adam' or 'adamw', got 'adm'"),
    ("schedule.peak=1", "schedule.peak: expected less than 1, got 1"),
    ("schedule.milestones=[90, 75]", r"expected rising numbers above 0.*got \[90.0, 75.0\]"),
    ("schedule.milestones=[0, 75]", "expected rising numbers above 0"),
    ("schedule.milestones=[75, 75]", "expected rising numbers above 0"),
    ("schedule.kind=step", "kind=step needs milestones, got none; write milestones="),
    ("protocol.kind=linear", "'full', 'scratch', 'linear_probe', 'lp_ft' or 'last_k', got 'lin"),
    ("protocol.kind=lp_ft", "got kind=lp_ft and probe_epochs=None; give both or neither"),
    ("protocol.probe_epochs=3", "got kind=full and probe_epochs=3; give both or neither"),
    ("seed=-1", "seed: expected 0 or more, got -1"),
    ("seed=a", "seed: expected a whole number, got 'a'"),
    ("augment=[flip", r"augment: expected a list such as .*, got '\[flip'"),
    ("augment=mixup, flip", "mixup"),
    ("train=5", "train is a section with fields, got 5; write them below it"),
    ("train=null", "train is a section with fields, got None"),
    ("train.attack.eps=3", "an attack is written whole: train.attack="),
    ("seed.x=3", "seed"),
    ("train.epochs", "cannot read the override 'train.epochs'; write section.field=value, as in"),
    ("=3", "cannot read the override '=3'"),
    (".epochs=3", "cannot read the override"),
    ("train.epochs=[1", r"cannot read the value of train.epochs, got '\[1'; write it as in YAML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_value_that_cannot_be_is_refused_with_what_came(text, message):
    with pytest.raises(BadValueError, match=message):
        of(text)


TOGETHER = [
    (["protocol.kind=lp_ft", "protocol.probe_epochs=10"], "probe_epochs=10 leaves no epoch of tr"),
    (["optimizer.kind=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"], "nesterov needs"),
    (["model.mean=[0.5]", "model.std=[0.2, 0.2, 0.2]"], "mean and std need 1 values each"),
    (["model.mean=[125, 122, 113]", "model.std=[60, 60, 60]"], "divide both by 255"),
    (["model.mean=[0, 0, 0]", "model.std=[0, 1, 1]"], "std must be positive"),
    (["protocol.kind=scratch", "model.weights=w.pth"], "fresh weights, got model.weights=w.pth"),
    (["train.objective=simclr", "augment=flip"], "augment must be empty: simclr makes its own"),
    (["train.objective=simclr", "train.micro_batch=4"], "micro_batch cuts a batch"),
    (["train.objective=simclr", "protocol.kind=linear_probe"], "trains the whole backbone"),
    (["train.objective=simclr", "train.step=awp"], "simclr goes with train.step=plain"),
]


@pytest.mark.parametrize(("texts", "message"), TOGETHER, ids=str)
def test_fields_that_do_not_go_together_are_refused(texts, message):
    with pytest.raises(BadValueError, match=message):
        of(*texts)


@pytest.mark.parametrize("value", [["flip", 3], {"flip": 1}, 5, [["flip"]]])
def test_augmentations_are_a_list_of_texts(value):
    with pytest.raises(BadValueError, match=r"augment: expected a list such as .*, got "):
        of(augment=value)


@pytest.mark.parametrize("missing", ["data", "model"])
def test_data_and_model_have_no_default(missing):
    with pytest.raises(BadValueError, match=f"{missing}: expected a value, as there is no default"):
        recipe_of({key: value for key, value in LEAST.items() if key != missing})
    with pytest.raises(BadValueError, match=f"{missing}.name: expected a value"):
        recipe_of({**LEAST, missing: {}})


FILES = [
    ("- data\n- model\n", "must hold sections such as data, model and train, got list"),
    ("hello\n", "got str"),
    ("", "got nothing"),
    ("data: [1\nmodel: 2", "is not YAML"),
    ("data:\n\tname: digits", "is not YAML"),
    ("data: {name: a, name: b}\nmodel: {name: small:cnn}\n", "name is written twice"),
    ("seed: 1\nseed: 2\n", "seed is written twice"),
]


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_file_that_is_no_recipe_is_named(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)

    with pytest.raises(BadValueError, match=message) as found:
        load_recipe(path)
    assert "mine.yaml" in str(found.value)


def test_bytes_that_are_no_text_are_an_error_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"data: \xff\xfe\x00")

    with pytest.raises(BadValueError, match=r"mine.yaml is no text in UTF-8"):
        load_recipe(path)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match=r"no recipe .*mine.yaml; .* a preset: .*trades"):
        load_recipe(tmp_path / "mine.yaml")
    with pytest.raises(UnknownNameError, match="no preset named 'trads'; did you mean trades"):
        load_recipe("trads")
    other = tmp_path / "recipe.txt"
    other.write_text("seed: 1")
    with pytest.raises(BadValueError, match=r"ends in .yaml or .yml"):
        load_recipe(other)
