"""Known bugs for `tests/mutants.py`: those of the attacks; the others are joined to them."""

from __future__ import annotations

from bug import Bug, of_attack
from engine_bugs import CHECKS, ENGINE, FLOW
from explain_bugs import EXPLAIN
from search_bugs import SEARCH
from training_bugs import TRAINING

_BALLS = [
    *of_attack(
        "balls",
        "test_balls",
        (
            "Linf projection cuts one side only",
            "return torch.minimum(deltas, radii).maximum(-radii)",
            "return torch.minimum(deltas, radii)",
        ),
        (
            "L2 projection stretches what is inside",
            "torch.where(sizes > radii, radii / sizes, 1.0)",
            "radii / sizes",
        ),
        (
            "L2 confinement forgets the box",
            ".sqrt_(), deltas)).add_(images).clamp_(0, 1)",
            ".sqrt_(), deltas)).add_(images)",
        ),
        (
            "L1 projection clips instead of shrinking",
            "return deltas - torch.minimum(deltas, limit).maximum(-limit)",
            "return torch.minimum(deltas, limit).maximum(-limit)",
        ),
    ),
    *of_attack(
        "balls",
        "test_ball_steps",
        ("Linf step goes downhill", "return gradients.sign()", "return gradients.sign().neg_()"),
        (
            "dual of Linf is Linf",
            "return row_sums(gradients.abs())",
            "return gradients.abs().flatten(1).amax(1)",
        ),
    ),
]

_LOSSES = of_attack(
    "losses",
    "test_losses",
    (
        "margin with the wrong sign",
        "return _largest_other(logits, labels) - _logit(logits, labels)",
        "return _logit(logits, labels) - _largest_other(logits, labels)",
    ),
    (
        "labels shifted by one",
        "return logits.gather(1, classes[:, None])[:, 0]",
        "return logits.roll(1, 1).gather(1, classes[:, None])[:, 0]",
    ),
    (
        "DLR over the gap of first and second",
        "(top[:, 0] - top[:, 2] + _TINY)",
        "(top[:, 0] - top[:, 1] + _TINY)",
    ),
    (
        "cross-entropy in float32, flat where the softmax rounds to one",
        "F.cross_entropy(logits.double(), labels",
        "F.cross_entropy(logits, labels",
    ),
)

_PGD = [
    *of_attack(
        "fgsm",
        "test_fgsm",
        (
            "FGSM steps downhill",
            "self.ball.steepest(gradients).mul_(eps)",
            "self.ball.steepest(gradients).mul_(-eps)",
        ),
    ),
    *of_attack(
        "pgd",
        "test_pgd",
        (
            "PGD forgets the ball",
            "REGIONS[self.norm].inside(state.frame, points, float(self.eps))",
            "points.clamp_(0, 1)",
        ),
        (
            "PGD's last iterate not looked at",
            "return state.evals > self.steps",
            "return state.evals >= self.steps",
        ),
        (
            "PGD's momentum does not decay",
            "state.velocity.mul_(self.momentum)",
            "state.velocity",
        ),
    ),
    *of_attack(
        "_steps",
        "test_pgd",
        ("L2 steps forget the box", ".add_(images).clamp_(0, 1)", ".add_(images)"),
    ),
]

_APGD = [
    *of_attack(
        "_apgd_best",
        "test_apgd",
        (
            "APGD's best point lost",
            "    state.best.index_copy_(0, rows, state.points.index_select(0, rows))",
            "    pass",
        ),
    ),
    *of_attack(
        "_apgd_momentum",
        "test_apgd",
        ("momentum on the first step", ".index_copy_(0, first, plain)", ""),
        ("step not halved", "state.lengths[stalled] /= 2", "pass"),
        ("checkpoint off by one", "needed[place] = interval", "needed[place - 1] = interval"),
        ("APGD's last iterate not looked at", "return self.steps + 1", "return self.steps"),
    ),
    *of_attack(
        "_apgd_sparse",
        "test_apgd",
        (
            "no way into the smaller ball of the next stage",
            "state.points = self._entered(state, points, here)",
            "state.points = points",
        ),
    ),
    *of_attack(
        "apgd",
        "test_apgd",
        ("least likely classes aimed at", "descending=True", "descending=False"),
        ("first target skipped", "// self.restarts + 1", "// self.restarts + 2"),
    ),
]

_MINIMUM = [
    *of_attack(
        "fab",
        "test_fab",
        (
            "FAB's backward step dropped",
            "state.points.add_(back)",
            "pass",
        ),
        (
            "FAB's hyperplane with the wrong sign",
            "nearest(normals, at, -heights)",
            "nearest(normals, at, heights)",
        ),
        ("FAB's bias to the image dropped", "at.add_(back.mul_(alpha))", "pass"),
    ),
    *of_attack(
        "halfspace",
        "test_halfspace",
        ("room to the wrong side", "signs, points, value=-1.0", "signs, points, value=1.0"),
    ),
    *of_attack(
        "ddn",
        "test_ddn",
        (
            "DDN's radius grows after a success",
            "torch.where(fallen, 1 - self.gamma, 1 + self.gamma)",
            "torch.where(fallen, 1 + self.gamma, 1 - self.gamma)",
        ),
        ("DDN forgets the box", ".add_(state.images).clamp_(0, 1)", ".add_(state.images)"),
    ),
    *of_attack(
        "fmn",
        "test_fmn",
        (
            "FMN's radius passes the best size",
            "torch.minimum(state.eps * (1 - gamma), state.best)",
            "state.eps * (1 - gamma)",
        ),
    ),
    *of_attack(
        "_minimum",
        "test_ddn",
        (
            "last point of minimum-norm walks not looked at",
            "return state.step > self.steps",
            "return state.step >= self.steps",
        ),
    ),
]

_SQUARE = [
    *of_attack(
        "_squares",
        "test_square_moves test_square",
        ("squares stop short of the last row", "height + 1 - side", "height - side"),
    ),
    *of_attack(
        "_linf_squares",
        "test_square_moves test_square",
        (
            "undo of a square lost",
            "            patch.place.write(state.asked, patch.before)\n",
            "            pass\n",
        ),
        (
            "position draws shared",
            "corners(draws[..., :2], side,",
            "corners(draws[:, :1, :2].expand(-1, count, -1), side,",
        ),
        (
            "position draws shared by lanes that are not in step",
            "corners(draws[:, :2], side,",
            "corners(draws[:1, :2].expand(len(draws), -1), side,",
        ),
        (
            "squares ahead of lanes that have left",
            "if state.images is not self.images:",
            "if False:",
        ),
        (
            "signs of another query ahead",
            "Place(ahead.pixels[row]), ahead.moved[row])",
            "Place(ahead.pixels[row]), ahead.moved[0])",
        ),
        (
            "a proposal of another state kept",
            "if corner is not state.corner:",
            "if corner is None:",
        ),
    ),
    *of_attack(
        "square",
        "test_square",
        (
            "Square's budget off by one",
            "state.query >= self.queries",
            "state.query > self.queries",
        ),
        ("Square keeps what lowers the loss", "loss > state.loss", "loss < state.loss"),
    ),
]

_REFUSALS = [
    Bug(
        "averaging over draws forgotten outside of rand",
        "wanted = part.repeats",
        "wanted = 1",
        file="perturb/attacks/run.py",
        tests=("compat/test_autoattack.py", "compat/test_torchattacks.py"),
    ),
    Bug(
        "gradients that are not finite not told",
        'self.flags.add("nonfinite_gradients")',
        "pass",
        file="perturb/attacks/evaluator.py",
        tests=("perturb/attacks/test_evaluator.py",),
    ),
    Bug(
        "a push leaves the box",
        "add_(own).clamp_(0, 1)",
        "add_(own)",
        file="perturb/attacks/_confirming.py",
        tests=("perturb/attacks/test_confirming.py",),
    ),
    Bug(
        "images that are wrong when clean in the median norm",
        "median(sizes[sizes > 0])",
        "median(sizes)",
        file="metrics/smallest_norm.py",
        tests=("metrics/test_smallest_norm.py",),
    ),
]

BUGS = [
    *_BALLS,
    *_LOSSES,
    *_PGD,
    *_APGD,
    *_MINIMUM,
    *_SQUARE,
    *ENGINE,
    *CHECKS,
    *FLOW,
    *_REFUSALS,
    *SEARCH,
    *TRAINING,
    *EXPLAIN,
]
