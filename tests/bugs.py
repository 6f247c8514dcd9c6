"""Known bugs for `tests/mutants.py`: an exact text of the package, and what to put in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One mistake that somebody could make.

    Attributes:
        name: What goes wrong.
        old: Text that occurs exactly once in the file.
        new: Its replacement.
        file: Below src/holdfast.
        tests: What pytest is given, below tests; the first failure ends the run.
    """

    name: str
    old: str
    new: str
    file: str = ""
    tests: tuple[str, ...] = ()


_ATTACKS = "perturb/attacks/"


def _attack(file: str, tests: str, *bugs: tuple[str, str, str]) -> list[Bug]:
    paths = tuple(f"{_ATTACKS}{name}.py" for name in tests.split())
    return [Bug(*bug, file=f"{_ATTACKS}{file}.py", tests=paths) for bug in bugs]


def _measuring(file: str, tests: str, *bugs: tuple[str, str, str]) -> list[Bug]:
    paths = tuple(f"measuring/{name}.py" for name in tests.split())
    return [Bug(*bug, file=f"{file}.py", tests=paths) for bug in bugs]


_BALLS = [
    *_attack(
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
    *_attack(
        "balls",
        "test_ball_steps",
        ("Linf step goes downhill", "return gradients.sign()", "return gradients.sign().neg_()"),
        (
            "dual of Linf is Linf",
            "return _row_sums(gradients.abs())",
            "return gradients.abs().flatten(1).amax(1)",
        ),
    ),
]

_LOSSES = _attack(
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
    *_attack(
        "fgsm",
        "test_fgsm",
        (
            "FGSM steps downhill",
            "self.ball.steepest(gradients).mul_(eps)",
            "self.ball.steepest(gradients).mul_(-eps)",
        ),
    ),
    *_attack(
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
    *_attack(
        "_steps",
        "test_pgd",
        ("L2 steps forget the box", ".add_(images).clamp_(0, 1)", ".add_(images)"),
    ),
]

_APGD = [
    *_attack(
        "_apgd_best",
        "test_apgd",
        (
            "APGD's best point lost",
            "    state.best.index_copy_(0, rows, state.points.index_select(0, rows))",
            "    pass",
        ),
    ),
    *_attack(
        "_apgd_momentum",
        "test_apgd",
        ("momentum on the first step", ".index_copy_(0, first, plain)", ""),
        ("step not halved", "state.lengths[stalled] /= 2", "pass"),
        ("checkpoint off by one", "needed[place] = interval", "needed[place - 1] = interval"),
        ("APGD's last iterate not looked at", "return self.steps + 1", "return self.steps"),
    ),
    *_attack(
        "_apgd_sparse",
        "test_apgd",
        (
            "no way into the smaller ball of the next stage",
            "state.points = self._entered(state, points, here)",
            "state.points = points",
        ),
    ),
    *_attack(
        "apgd",
        "test_apgd",
        ("least likely classes aimed at", "descending=True", "descending=False"),
        ("first target skipped", "// self.restarts + 1", "// self.restarts + 2"),
    ),
]

_MINIMUM = [
    *_attack(
        "fab",
        "test_fab",
        (
            "FAB's backward step dropped",
            "state.points.lerp_(state.images, per_lane(weight, state.points))",
            "pass",
        ),
        (
            "FAB's hyperplane with the wrong sign",
            "nearest(normals, at, -heights)",
            "nearest(normals, at, heights)",
        ),
        ("FAB's bias to the image dropped", "at.addcmul_(back, alpha)", "pass"),
    ),
    *_attack(
        "halfspace",
        "test_halfspace",
        ("room to the wrong side", "signs, points, value=-1.0", "signs, points, value=1.0"),
    ),
    *_attack(
        "ddn",
        "test_ddn",
        (
            "DDN's radius grows after a success",
            "torch.where(fallen, 1 - self.gamma, 1 + self.gamma)",
            "torch.where(fallen, 1 + self.gamma, 1 - self.gamma)",
        ),
        ("DDN forgets the box", ".add_(state.images).clamp_(0, 1)", ".add_(state.images)"),
    ),
    *_attack(
        "fmn",
        "test_fmn",
        (
            "FMN's radius passes the best size",
            "torch.minimum(state.eps * (1 - gamma), state.best)",
            "state.eps * (1 - gamma)",
        ),
    ),
    *_attack(
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
    *_attack(
        "_squares",
        "test_square_moves test_square",
        ("undo of a square lost", "        asked.scatter_(0, pixels, kept)\n", ""),
        (
            "position draws shared",
            "corners(draws[:, :2], side,",
            "corners(draws[:1, :2].expand(len(draws), -1), side,",
        ),
        ("squares stop short of the last row", "height + 1 - side", "height - side"),
    ),
    *_attack(
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

_ENGINE = [
    *_attack(
        "engine",
        "test_engine",
        (
            "forward passes counted twice",
            "samples.forward[:, place].add_(",
            "samples.forward[:, place].add_(2 * ",
        ),
        (
            "images outside the ball put to the judge",
            "fell = smallest <= limit(attack.eps)",
            "fell = smallest < torch.inf",
        ),
        ("next lane skipped", "samples.lane + stage.width", "samples.lane + stage.width + 1"),
        ("lane not set back for the next stage", "torch.zeros_like(done.lane)", "done.lane"),
        (
            "revived lanes lost",
            "            stage.join(samples.take(~spent)",
            "            (samples.take(~spent)",
        ),
        (
            "image found at a smaller eps not used",
            "(samples.lane == 0) & (samples.norm <= limit(eps))",
            "(samples.lane < 0) & (samples.norm <= limit(eps))",
        ),
        (
            "image of any size taken as found at a smaller eps",
            "(samples.lane == 0) & (samples.norm <= limit(eps))",
            "(samples.lane == 0) & samples.norm.isfinite()",
        ),
        (
            "largest image found kept",
            "better = smallest < samples.norm",
            "better = smallest.isfinite() & ((smallest > samples.norm) | samples.norm.isinf())",
        ),
        (
            "stage of the smaller eps credited",
            "by = entry.stage - entry.stage % members + done.found_by % members",
            "by = done.found_by",
        ),
        ("restarts all alike", "keys.at(lane.view(-1))", "keys"),
        ("fallen samples sent on as well", "spent = finished & ~fell", "spent = finished | fell"),
    ),
    *_attack(
        "engine",
        "test_craft",
        (
            "clean logits that are not finite counted as right",
            "wrong = ~(finite & (logits.argmax(1) == samples.labels))",
            "wrong = logits.argmax(1) != samples.labels",
        ),
    ),
    *_attack(
        "samples",
        "test_engine test_craft",
        ("size check dropped", "return float(eps) * (1 + SLACK) + SLACK", 'return float("inf")'),
        ("eps tolerance 1 %", "SLACK = 1e-6", "SLACK = 1e-2"),
        (
            "wrong class taken for the wanted one",
            "given != labels, given == targets)",
            "given != labels, given != labels)",
        ),
    ),
    *_attack(
        "run",
        "test_engine",
        (
            "a fall at the next eps counted at this one",
            "fell = verdict.stage < start + count",
            "fell = verdict.stage <= start + count",
        ),
        ("eps of the conditions swapped", "count * place, condition", "count * -place, condition"),
    ),
    *_attack(
        "evaluator",
        "test_evaluator",
        (
            "padding leaks into the result",
            "return logits[: images.shape[0]]",
            "return logits",
        ),
        (
            "padding leaks into the gradients",
            "return found[:count, None]",
            "return found[:, None]",
        ),
        (
            "logits that are not finite counted as a success",
            "torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite",
            "torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite | True",
        ),
        ("repeats summed, not averaged", "total[1] / self.repeats", "total[1]"),
    ),
]

_CHECKS = _attack(
    "checks",
    "test_checks",
    ("a randomized model not noticed", "amax() / scale) > _ROUNDING", "amax() / scale) > 1e9"),
    ("a huge eps not tried", "self._stand(huge, samples) > 0", "self._stand(huge, samples) > 99"),
)

_FLOW = [
    *_measuring(
        "measuring/flow",
        "test_flow",
        (
            "conditions swapped",
            "entry.scores[outcome.condition].add(",
            "entry.scores[-1 - outcome.condition].add(",
        ),
        (
            "pieces of an earlier process overwritten",
            "default=-1) + 1",
            "default=-1) * 0",
        ),
        (
            "finished samples measured again",
            "[id_ not in self._earlier.ids for",
            "[True for",
        ),
        (
            "a part flushed before all its outcomes are there",
            "if not entry.read or entry.awaited:",
            "if not entry.read:",
        ),
    ),
    *_measuring(
        "measuring/stopping",
        "test_prefix",
        (
            "what was measured after the prefix counted too",
            "return None if self._halfwidth is None else min(len(seen) for seen in self._seen)",
            "return None",
        ),
        (
            "a gap in the prefix",
            "while len(self._seen[0]) in whole:",
            "while len(self._seen[0]) <= max(whole, default=-1):",
        ),
        ("whole width taken for half", "(high - low) / 2 <=", "(high - low) / 4 <="),
    ),
]

BUGS = [*_BALLS, *_LOSSES, *_PGD, *_APGD, *_MINIMUM, *_SQUARE, *_ENGINE, *_CHECKS, *_FLOW]
