"""Plain one-lane readings of papers, in float64, with none of the package's code."""

from __future__ import annotations

import math
from itertools import pairwise

import torch


def onto_l1(image, point, eps):
    """Nearest point of L1 ball and box, by bisection on how much all entries shrink."""
    delta = point - image
    low, high = 0.0, delta.abs().max().item()
    if (point.clamp(0, 1) - image).abs().sum() <= eps:
        return point.clamp(0, 1)
    for _ in range(200):
        middle = (low + high) / 2
        shrunk = delta.sign() * (delta.abs() - middle).clamp(min=0)
        if ((image + shrunk).clamp(0, 1) - image).abs().sum() > eps:
            low = middle
        else:
            high = middle
    return (image + shrunk).clamp(0, 1)


def brought_back(norm, image, point, eps):
    """Into ball and box, in the order that the papers' codes have."""
    if norm == "linf":
        return torch.max(torch.min(point, image + eps), image - eps).clamp(0, 1)
    if norm == "l1":
        return onto_l1(image, point, eps)
    delta = point - image
    return (image + delta * min(1, eps / max(delta.norm().item(), 1e-12))).clamp(0, 1)


class Judge:
    """Loss and gradient of one image of a curved model in float64, and what was asked for.

    Where a decision hangs on less than float32 resolves, `certain` says after how many points.
    """

    def __init__(self, model, loss, label, aim):
        self.inner, self.outer = model.inner.double(), model.outer.double()
        self.loss, self.label, self.aim = loss, label, aim
        self.points, self.certain = [], math.inf

    def __call__(self, point):
        self.points.append(point)
        leaf = point.clone().requires_grad_(True)
        value = self.value(((leaf.flatten() - 0.5) @ self.inner).tanh() @ self.outer)
        return value.item(), torch.autograd.grad(value, leaf)[0]

    def above(self, first, second):
        self.distinguish(abs(first - second) > 1e-6)
        return first > second

    def distinguish(self, clear):
        if not clear:
            self.certain = min(self.certain, len(self.points))

    def value(self, logits):
        if self.loss == "cross_entropy":
            return logits.logsumexp(0) - logits[self.label]
        ranked = logits.sort(descending=True).values
        if self.loss == "targeted_dlr":
            gap = ranked[0] - (ranked[2] + ranked[3]) / 2
            return (logits[self.aim] - logits[self.label]) / gap
        other = max(logits[k] for k in range(len(logits)) if k != self.label)
        return (other - logits[self.label]) / (ranked[0] - ranked[2])


class Checkpoints:
    """When to halve the step, arXiv:2003.01690: all losses are kept, and looked back on."""

    def __init__(self, steps, above):
        # Before the first loss the authors' array of losses after steps holds a zero.
        self.losses, self.above = [0.0], above
        self.checked, self.halved = None, True
        self.interval, self.since = max(int(0.22 * steps), 1), 0
        self.shrink, self.least = max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)

    def stalled(self, loss, best_loss):
        """Whether, after one more step, it is time to halve."""
        self.losses.append(loss)
        self.since += 1
        if self.since < self.interval:
            return False
        recent = self.losses[-self.interval - 1 :]
        rises = sum(self.above(now, then) for then, now in pairwise(recent))
        few = rises <= 0.75 * self.interval
        self.halved = few or (not self.halved and self.checked >= best_loss)
        self.checked, self.since = best_loss, 0
        self.interval = max(self.interval - self.shrink, self.least)
        return self.halved


def judged_momentum(judge, image, point, norm, eps, steps):
    """Algorithm 1 of arXiv:2003.01690."""
    length, before, checkpoints = 2 * eps, point, Checkpoints(steps, judge.above)
    best_loss, slope = judge(point)
    best, best_slope = point, slope
    for step in range(steps):
        judge.distinguish((slope.norm() if norm == "l2" else slope.abs().min()) > 1e-6)
        way = slope.sign() if norm == "linf" else slope / slope.norm()
        target = brought_back(norm, image, point + length * way, eps)
        if step:
            mixed = point + 0.75 * (target - point) + 0.25 * (point - before)
            target = brought_back(norm, image, mixed, eps)
        before, point = point, target
        loss, slope = judge(point)
        if judge.above(loss, best_loss):
            best, best_slope, best_loss = point, slope, loss
        if checkpoints.stalled(loss, best_loss):
            length, point, slope = length / 2, best, best_slope


def judged_sparse(judge, image, point, eps, steps, kept=None):
    """The L1 version, arXiv:2103.01208, in one ball; gives its best point."""
    count, length = image.numel(), eps
    changed = count if kept else int((point != image).sum())
    kept = kept or changed / count / 1.5
    best_loss, slope = judge(point)
    best, best_slope = point, slope
    interval = max(int(0.04 * steps), 1)
    for step in range(1, steps + 1):
        rank = min(int((1 - torch.tensor(kept).float()) * count), count - 1)
        rank = count - 1 if changed == 2 else rank
        sizes = slope.abs()
        ranked = sizes.flatten().sort().values
        judge.distinguish(ranked[rank] - ranked[rank - 1] > 1e-6)
        signs = slope.sign() * (sizes >= ranked[rank])
        point = onto_l1(image, point + length * signs / signs.abs().sum(), eps)
        loss, slope = judge(point)
        if judge.above(loss, best_loss):
            best, best_slope, best_loss = point, slope, loss
        if step % interval == 0:
            now = int(((best - image).abs() > 1e-9).sum())
            judge.distinguish(((best - image).abs() > 1e-6).sum() == now)
            sparser, changed, kept = now / changed < 0.95, now, now / count / 1.5
            length = eps if sparser else max(length / 1.5, eps / 10)
            if sparser:
                point, slope = best, best_slope
    return best
