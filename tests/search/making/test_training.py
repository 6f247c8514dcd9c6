import pytest
import torch

from holdfast import training
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.search.making.inputs import digits, pooled
from holdfast.search.making.stack import CONV, SKIP, Size, Stack
from holdfast.search.making.training import Recipe, train

CELLS = [(CONV, "none", SKIP, SKIP, "none", CONV), (CONV, CONV, SKIP, "none", CONV, SKIP)]
SIZE = Size(channels=4)
IMAGES, LABELS = (part[:128] for part in digits("train"))
IMAGES = pooled(IMAGES)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_a_stack_learns_what_the_training_loop_learns(eps):
    recipe = {"epochs": 2, "batch_size": 64, "learning_rate": 2e-3}
    stack = Stack(CELLS, SIZE, seed=0)
    fresh = stack.state(1)
    losses = [
        epoch[1].item()
        for epoch in train(stack, IMAGES, LABELS, Recipe(eps=eps, steps=2, **recipe), seed=7)
    ]
    net = build_nb201(format_cell(CELLS[1]), channels=4, cells=1, in_channels=1)
    net.load_state_dict(fresh, strict=False)
    own = training.Recipe(adversarial_eps=eps, adversarial_steps=2, seed=7, **recipe)
    expected = [epoch.loss for epoch in training.fit(net, IMAGES[:, None], LABELS, own)]

    assert expected == pytest.approx(losses, abs=1e-4)
    after = stack.state(1)
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, after[name], atol=1e-3, rtol=1e-3)
            assert name.startswith("lastact") or not torch.equal(fresh[name], after[name])


def test_a_networks_weights_do_not_depend_on_its_neighbours():
    recipe = Recipe(epochs=1, eps=0.1, steps=1, batch_size=16)
    together, alone = Stack(CELLS, SIZE, seed=0), Stack(CELLS[1:], SIZE, seed=0)
    for stack in (together, alone):
        list(train(stack, IMAGES, LABELS, recipe, seed=0))

    for name, value in alone.state(0).items():
        assert torch.equal(value, together.state(1)[name]), name
