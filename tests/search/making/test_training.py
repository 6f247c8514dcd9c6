import pytest
import torch

from holdfast.models import Preprocessing, load_model
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.search.making.inputs import digits, pooled
from holdfast.search.making.stack import CONV, SKIP, Size, Stack
from holdfast.search.making.training import Recipe, train
from holdfast.training import Trainer, recipe_of
from training_toys import Floats

CELLS = [(CONV, "none", SKIP, SKIP, "none", CONV), (CONV, CONV, SKIP, "none", CONV, SKIP)]
SIZE = Size(channels=4)
IMAGES, LABELS = (part[:128] for part in digits("train"))
IMAGES = pooled(IMAGES)


RECIPE = {"epochs": 2, "batch_size": 64, "learning_rate": 2e-3}


def both(eps):
    """Losses and last weights of the second cell: in a stack, and by the training loop."""
    stack = Stack(CELLS, SIZE, seed=0)
    net = build_nb201(format_cell(CELLS[1]), channels=4, cells=1, in_channels=1)
    net.load_state_dict(stack.state(1), strict=False)
    recipe = Recipe(eps=eps, steps=2, **RECIPE)
    stacked = [epoch[1].item() for epoch in train(stack, IMAGES, LABELS, recipe, seed=7)]
    own = recipe_of(
        {
            "data": {"name": "digits", "validation": None},
            "model": {"name": "nb201"},
            "train": {
                "objective": f"adversarial(attack=pgd(eps={eps}, steps=2))",
                "epochs": RECIPE["epochs"],
                "batch_size": RECIPE["batch_size"],
                "eps_schedule": "linear",
            },
            "optimizer": {"lr": RECIPE["learning_rate"], "weight_decay": 5e-4, "decay_all": True},
            "schedule": {"kind": "onecycle"},
            "seed": 7,
        }
    )
    classifier = load_model(net, device="cpu", preprocessing=Preprocessing(channels=1))
    trainer = Trainer(own, classifier, Floats(IMAGES[:, None], LABELS, seed=7))
    steps = [step.loss for step in trainer.run()]
    plain = [sum(steps[:2]) / 2, sum(steps[2:]) / 2]
    states = stack.state(1), net.state_dict()
    return stacked, plain, *states


def test_a_stack_learns_what_the_training_loop_learns():
    stacked, plain, found, expected = both(eps=0.0)

    assert plain == pytest.approx(stacked, abs=1e-4)
    for name, value in found.items():
        torch.testing.assert_close(expected[name], value, atol=1e-3, rtol=1e-3)


def test_a_stack_is_attacked_in_training_as_the_training_loop_does():
    # One pixel whose gradient is nearly zero may step the other way, and then all diverges
    # slowly; the radius or the draws being others would show in the first digits.
    stacked, plain, *_ = both(eps=0.1)
    clean, *_ = both(eps=0.0)

    assert plain == pytest.approx(stacked, abs=5e-3)
    assert all(loss > without + 2e-2 for loss, without in zip(stacked, clean, strict=True))


def test_a_networks_weights_do_not_depend_on_its_neighbours():
    recipe = Recipe(epochs=1, eps=0.1, steps=1, batch_size=64)
    together, alone = Stack(CELLS, SIZE, seed=0), Stack(CELLS[1:], SIZE, seed=0)
    for stack in (together, alone):
        list(train(stack, IMAGES, LABELS, recipe, seed=0))

    for name, value in alone.state(0).items():
        assert torch.equal(value, together.state(1)[name]), name
