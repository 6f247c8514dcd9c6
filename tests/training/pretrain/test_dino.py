"""DINO's teacher: what it sees, how it follows, and that it comes back from a checkpoint."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from lightly.loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead

from holdfast.core.errors import BadValueError
from holdfast.training.objectives import parse_objective
from training.pretrain.toys import SMALL, Projecting, batch_of, normal

DINO = parse_objective("dino", SMALL["dino"])


def moved(classifier):
    """Make the student differ from its teacher."""
    with torch.no_grad():
        for number, own in enumerate(students(classifier)):
            own.add_(normal(*own.shape, seed=number, dtype=own.dtype), alpha=0.1)
    return classifier


def teachers(classifier):
    return [p.clone() for p in classifier.companion.teacher.parameters()]


def students(classifier):
    return [*classifier.net.parameters(), *classifier.companion.head.parameters()]


def test_the_teacher_starts_as_the_student_and_never_learns_by_gradients():
    classifier = Projecting(DINO)
    before = teachers(classifier)
    assert all(map(torch.equal, before, students(classifier)))
    DINO.losses(classifier, batch_of(4)).mean().backward()
    assert all(
        p.grad is None and not p.requires_grad for p in classifier.companion.teacher.parameters()
    )
    assert all(map(torch.equal, before, teachers(classifier)))


def test_the_loss_is_lightlys_of_teacher_and_student():
    classifier, batch = (
        moved(Projecting(DINO, dtype=torch.float64)),
        batch_of(5, dtype=torch.float64),
    )
    net, head = (copy.deepcopy(classifier.companion.teacher[name]) for name in ("net", "head"))
    judge = DINOLoss(5).double()
    with torch.no_grad():
        seen = ((batch.views - 0.4) / 0.2).flatten(0, 1)
        teacher = head(net(seen)).unflatten(0, (2, 5))
        student = copy.deepcopy(classifier)(batch.views.flatten(0, 1)).unflatten(0, (2, 5))
    for _ in range(2):  # the second time with another center
        loss = DINO.losses(classifier, batch)
        assert loss.shape == (5,)
        torch.testing.assert_close(loss[0].detach(), judge(list(teacher), list(student)))
    torch.testing.assert_close(classifier.companion.loss.center, judge.center)
    center = (0.9 * 0.1 + 0.1) * teacher.mean((0, 1))
    torch.testing.assert_close(judge.center.flatten(), center)


def test_the_loss_is_the_papers():
    classifier, batch = moved(Projecting(DINO)), batch_of(4)
    with torch.no_grad():
        loss = float(DINO.losses(classifier, batch)[0])
        seen = ((batch.views - 0.4) / 0.2).flatten(0, 1)
        teacher = classifier.companion.teacher["head"](classifier.companion.teacher["net"](seen))
        student = classifier(batch.views.flatten(0, 1)) / 0.1
    wanted = (teacher / 0.04).softmax(1).unflatten(0, (2, 4))
    said = student.log_softmax(1).unflatten(0, (2, 4))
    by_hand = -(wanted[0] * said[1] + wanted[1] * said[0]).sum(1).mean() / 2
    assert loss == pytest.approx(float(by_hand), rel=1e-5)


def test_a_student_that_says_nothing_loses_the_logarithm_of_the_prototypes():
    classifier = Projecting(DINO)
    with torch.no_grad():
        # An answer is a product with the bottleneck's unit vector; orthogonal ones are all 0.
        classifier.companion.head.last_layer.parametrizations["weight"].original0.zero_()
    loss = DINO.losses(classifier, batch_of(4))
    assert float(loss[0].detach()) == pytest.approx(math.log(5), rel=1e-6)


@pytest.mark.parametrize(("part", "decay"), [(0.0, 0.996), (0.5, 0.998), (1.0, 1.0)])
def test_the_teacher_follows_by_a_cosine(part, decay):
    classifier = moved(Projecting(DINO, dtype=torch.float64))
    before = teachers(classifier)
    DINO.after_step(classifier, part)
    for slow, old, fast in zip(teachers(classifier), before, students(classifier), strict=True):
        torch.testing.assert_close(slow, decay * old + (1 - decay) * fast, rtol=0, atol=1e-14)


def test_a_saved_companion_goes_on_where_it_was():
    classifier, batch = moved(Projecting(DINO)), batch_of(4)
    DINO.losses(classifier, batch)
    DINO.after_step(classifier, 0.1)
    other = Projecting(DINO, seed=1)
    other.net.load_state_dict(classifier.net.state_dict())
    other.companion.load_state_dict(classifier.companion.state_dict())
    assert torch.equal(DINO.losses(other, batch), DINO.losses(classifier, batch))


def test_the_network_is_saved_once():
    keys = Projecting(DINO).companion.state_dict()
    assert {key.partition(".")[0] for key in keys} == {"head", "teacher", "loss"}
    assert "loss.center" in keys


def test_nothing_stays_on_the_network():
    classifier = Projecting(DINO)
    DINO.losses(classifier, batch_of(4))
    assert not classifier.net._forward_pre_hooks
    copy.deepcopy(classifier.companion)  # averaged weights are made that way


def test_the_head_is_lightlys():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        judge = DINOProjectionHead(8, 6, 4, 5)
    head = Projecting(DINO).companion.head
    head.layers.load_state_dict(judge.layers.state_dict())
    head.last_layer.parametrizations["weight"].original1.data.copy_(judge.last_layer.weight_v.data)
    features = normal(3, 8)
    torch.testing.assert_close(head(features), judge(features))
    trained = {name for name, p in head.named_parameters() if not p.requires_grad}
    assert trained == {"last_layer.parametrizations.weight.original0"}


def test_a_network_that_is_never_called_is_told():
    classifier = Projecting(DINO)
    classifier.net = Projecting(DINO).net
    with pytest.raises(BadValueError, match="never called the network"):
        DINO.losses(classifier, batch_of(4))
