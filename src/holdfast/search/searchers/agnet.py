"""AG-Net: a generator of architectures that is retrained towards the best of those asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.search.predictors.boosting import Trees
from holdfast.search.predictors.graph_past import Past, condition
from holdfast.search.predictors.graph_surrogate import (
    Judged,
    Learner,
    Retraining,
    Surrogate,
    as_logits,
)
from holdfast.search.predictors.graph_training import decode, pretrained, support_of
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.searchers.candidates import need
from holdfast.search.spaces.base import SPACES, Space
from holdfast.search.trials import Trial

_SEEDS = 2**31 - 1
_DRAWS = range(1, 10)  # the n-th batch of latents is n times as large as the wanted candidates
_TREES = {"xgb": Trees("value"), "xgb_ranking": Trees("order", rounds=100)}
_PASSES = {"nb201": 30, "nb201_hw": 30, "nlp": 30}  # the paper's; 15 elsewhere


@SEARCHERS.register("agnet")
@dataclass
class AGNet:
    """Learn where to look: generator and surrogate are trained on the history, the best weigh most.

    Source: Lukasik, Jung and Keuper 2022 (ECCV), "Learning where to look - generative NAS is
    surprisingly efficient", algorithm 3. After `initial` random architectures each round trains
    the pretrained generator together with a surrogate, weights 1 / (k N + rank) both drawing the
    examples and weighing their loss (1 - alpha) reconstruction + alpha squared error; then latents
    of U(-3, 3) give candidates, and the surrogate's best are asked.

    Where an objective has constraints, the surrogate has a head for each and is told the device
    (the paper's hardware search): an example's or candidate's rank is the sum of its rank by merit
    and, if `joint`, by the constrained quantity, times 1000 where that misses the bound. The bound
    is the value nearest to it among the trials that kept it.

    The surrogate as published (`judged=latent`) reads the logits of noise that is drawn anew for
    each example. They tell nothing of the architecture whose value it learns, and what it says
    of candidates does not correlate with their values (Spearman 0.0 on NAS-Bench-201); the search
    lives on the generator, which samples around the best. With `judged=graph` it reads the
    architectures themselves and does rank (Spearman 0.3 to 0.5), at the price of less varied
    rounds. With constraints it has to tell what is feasible, so there `graph` is the default.

    Else the differences from the authors' code are:
        * Nodes are drawn among those that the space has (`Support`), which raises the share of
          valid samples.
        * Architectures that a round lacks are replaced by random unseen ones.
        * Values above 1 are divided by the largest; with `graph` they are standardised.
        * Their XGB-ranking variant keeps squared error; here the trees learn the order of pairs.

    Attributes:
        initial: Random architectures before the first round.
        top: Architectures a round.
        candidates: Unseen valid samples among which the surrogate chooses; 500 latents to begin
            with instead of 100 where there are constraints.
        ticks: Passes over the history a round: 30 in NAS-Bench-201 and NLP, 15 elsewhere, 1 with
            trees, where None.
        k: Of the weights; the smaller, the more the best weigh.
        alpha: Share of the surrogate's error in the loss: 0.9, and 0.95 with constraints.
        rate: Of Adam: 1e-3, and 2e-4 with weight decay 1e-4 where there are constraints.
        latent_range: Latents of candidates are uniform between minus and plus this.
        surrogate: `mlp`; or trees fitted to the graphs, which leave the generator alone.
        judged: What the `mlp` reads, see above; `latent` without and `graph` with constraints
            where None.
        joint: Whether constrained quantities are also wanted small, not only within bounds.
        weights: File of pretrained weights. Where None: those that ship with the package
            (NAS-Bench-201 and its hardware variant), else a pretraining on 100,000 architectures,
            which takes a minute or more and is done once a process.
        pretraining: Pretrain on so many architectures instead, whether weights ship or not.
    """

    initial: int = 16
    top: int = 16
    candidates: int = 100
    ticks: int | None = None
    k: float = 0.01
    alpha: float | None = None
    rate: float | None = None
    latent_range: float = 3.0
    surrogate: Literal["mlp", "xgb", "xgb_ranking"] = "mlp"
    judged: Judged | None = None
    joint: bool = True
    weights: str | None = None
    pretraining: int | None = None
    _learner: Learner | None = field(default=None, init=False, repr=False, compare=False)
    _kept: dict[str, np.ndarray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    about: ClassVar[str] = "AG-Net: generator and surrogate retrained on the best (ECCV 2022)"

    def __post_init__(self) -> None:
        for name in ("initial", "top", "candidates"):
            need(f"agnet {name}", getattr(self, name), 1)
        tiny = float(np.finfo(float).tiny)
        least = {"ticks": 1, "pretraining": 1, "k": tiny, "rate": tiny, "latent_range": tiny}
        for name, bound in least.items():
            if getattr(self, name) is not None:
                need(f"agnet {name}", getattr(self, name), bound)
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise BadValueError(f"agnet alpha must be 0 to 1, got {self.alpha:g}")
        if self.weights is not None and self.pretraining is not None:
            raise BadValueError("agnet takes weights or pretraining, not both: leave one out")

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """First `initial` random ones, then `top` a round; see `Searcher`."""
        known = [trial for trial in history if np.isfinite(trial.score.merit)]
        if len(history) < self.initial:
            return unseen(space, history, rng, self.initial - len(history))
        if len(known) < 2:
            return unseen(space, history, rng, self.top)
        bound = bool(known[0].score.excess)
        centred = self.surrogate in _TREES or self._judged(constrained=bound) == "graph"
        past = Past.of(known, joint=self.joint, centred=centred)
        learner = self._ready(space, past, int(rng.integers(_SEEDS)))
        random = torch.Generator().manual_seed(int(rng.integers(_SEEDS)))
        examples = past.examples(space, self.k)
        learner.train(examples, self._passes(space), random)
        pool, read = self._candidates(space, history, learner, random)
        picked = rng.permutation(len(pool))[: self.candidates]
        pool, read = [pool[place] for place in picked], read[picked]
        chosen: list[str] = []
        if pool:
            said = self._said(space, past, learner, pool, read, int(rng.integers(_SEEDS)))
            order = np.argsort(past.judge(said), kind="stable")
            chosen = [pool[place] for place in order[: self.top]]
        asked = [*history, *(Trial(0, 0, arch, history[0].score) for arch in chosen)]
        return chosen + unseen(space, asked, rng, self.top - len(chosen))

    def save(self) -> dict[str, np.ndarray]:
        """Weights and Adam's moments; nothing before the first training."""
        return dict(self._kept) if self._learner is None else self._learner.arrays()

    def load(self, kept: dict[str, np.ndarray]) -> None:
        """Take up what `save` gave."""
        self._learner, self._kept = None, dict(kept)

    def _judged(self, *, constrained: bool) -> Judged:
        return self.judged or ("graph" if constrained else "latent")

    def _passes(self, space: Space) -> int:
        if self.ticks is not None:
            return self.ticks
        name = SPACES.name_of(type(space.whole))
        return 1 if self.surrogate in _TREES else _PASSES.get(name, 15)

    def _ready(self, space: Space, past: Past, seed: int) -> Learner:
        """The learner, made where there is none; `seed` of a fresh surrogate."""
        if self._learner is not None:
            return self._learner
        generator = pretrained(space, self.weights, self.pretraining)
        told = condition(space, past.archs[:1]).shape[1]
        width = generator.layout.width * space.graphs_each
        mlp = None if self.surrogate in _TREES else Surrogate(width, told, past.heads, seed)
        bounded = past.heads > 1
        usual = (0.95, 2e-4, 1e-4) if bounded else (0.9, 1e-3, 0.0)
        self._learner = Learner(
            generator,
            mlp,
            Retraining(
                alpha=usual[0] if self.alpha is None else self.alpha,
                rate=usual[1] if self.rate is None else self.rate,
                decay=usual[2],
                judged=self._judged(constrained=bounded),
                bounded=bounded,
            ),
        )
        if self._kept:
            self._learner.restore(self._kept)
            self._kept = {}
        return self._learner

    def _candidates(
        self, space: Space, history: Sequence[Trial], learner: Learner, random: torch.Generator
    ) -> tuple[list[str], Tensor]:
        """Unseen architectures, and what the surrogate reads of each, float32 [P, W]."""
        seen = {space.key(trial.arch) for trial in history}
        pool: list[str] = []
        read: list[Tensor] = []
        for times in _DRAWS:
            archs, rows = self._draw(space, times * self._batch(learner), learner, random)
            for arch, row in zip(archs, rows, strict=True):
                key = None if arch is None else space.key(arch)
                if key is not None and key not in seen:
                    seen.add(key)
                    pool.append(key)  # the one of its class that the space draws
                    read.append(row)
            if len(pool) > self.candidates:
                break
        return pool, torch.stack(read) if read else torch.zeros(0, 0)

    def _batch(self, learner: Learner) -> int:
        return self.candidates * (5 if learner.retraining.bounded else 1)

    def _draw(
        self, space: Space, count: int, learner: Learner, random: torch.Generator
    ) -> tuple[list[str | None], Tensor]:
        """Architectures of `count` latents, None where invalid, and what is read of each."""
        generator, shape = learner.generator, (count, space.graphs_each)
        with torch.no_grad():
            unit = torch.rand(count * space.graphs_each, generator.latent, generator=random)
            logits = generator((2.0 * unit - 1.0) * self.latent_range)
            labels, edges = logits.sample(random, support_of(space))
            labels, edges = labels.unflatten(0, shape), edges.unflatten(0, shape)
            if learner.retraining.judged == "latent" and learner.surrogate is not None:
                rows = logits.flat().view(count, -1)
            else:
                rows = as_logits(labels, edges, generator.layout)
        return decode(space, labels, edges), rows

    def _said(
        self, space: Space, past: Past, learner: Learner, pool: list[str], read: Tensor, seed: int
    ) -> np.ndarray:
        """What the surrogate says of candidates, float [P, heads]."""
        told = condition(space, pool)
        if learner.surrogate is not None:
            with torch.no_grad():
                return learner.surrogate(read, told).numpy()
        examples = past.examples(space, self.k)
        graphs = as_logits(examples.labels, examples.edges, learner.generator.layout)
        x = torch.cat((graphs, examples.condition), dim=1).numpy()
        at = torch.cat((read, told), dim=1).numpy()
        trees = _TREES[self.surrogate]
        columns = [trees.predict(x, y, at, seed) for y in past.learned().T]
        return np.stack(columns, axis=1)
