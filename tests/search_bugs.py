"""Known bugs of the search, for `tests/mutants.py`."""

from __future__ import annotations

from bug import Bug


def _of(file: str, tests: tuple[str, ...], *bugs: tuple[str, str, str]) -> list[Bug]:
    return [Bug(*bug, file=f"search/{file}", tests=tests) for bug in bugs]


SEARCH = [
    *_of(
        "spaces/nb201.py",
        ("search/spaces/test_nb201.py", "search/spaces/test_contract.py"),
        ("ids are not shuffled as published", "_SHUFFLE = 88", "_SHUFFLE = 89"),
        (
            "a dead node is told from none",
            'if op == "none" or nodes[start] == "#":',
            'if op == "none":',
        ),
        (
            "skip connections make classes of their own",
            'elif op == "skip_connect":',
            'elif op == "skip":',
        ),
        (
            "the order of terms tells cells apart",
            'nodes.append("+".join(sorted(terms)))',
            'nodes.append("+".join(terms))',
        ),
        ("the cell is its own neighbour", "        if op != cell[edge]\n", "        if op\n"),
        ("a path leaves out an edge", "(0, 2, 5))", "(0, 2, 4))"),
        (
            "unique draws strings",
            "return tuple(dict.fromkeys(classes.values())) if unique else tuple(classes)",
            "return tuple(classes)",
        ),
    ),
    *_of(
        "objectives.py",
        ("search/test_objectives.py",),
        (
            "what misses a constraint may win",
            "merit.min() - 1 - excess.clip(min=0).sum(1)",
            "merit - excess.clip(min=0).sum(1)",
        ),
        (
            "a minimum is not turned",
            "np.array([1.0 if one.maximize else -1.0 for one in self.quantities])",
            "np.array([1.0 for one in self.quantities])",
        ),
        (
            "the digest forgets the values",
            'body.update(f"{arch} {score}\\n".encode())',
            'body.update(f"{arch}\\n".encode())',
        ),
    ),
    *_of(
        "quantities.py",
        ("search/test_objectives.py",),
        (
            "the test split is in reach",
            'if column.split in (choice.select_on, "none")]',
            'if column.split in (choice.select_on, "none", "test")]',
        ),
        (
            "latency is maximized",
            'larger = {term.columns[0].better == "higher" for term in terms}',
            "larger = {True for term in terms}",
        ),
        (
            "a mean adds up",
            "(term.weight / len(term.columns), column)",
            "(term.weight, column)",
        ),
        (
            "an upper bound bounds from below",
            "over = values - self.bound if self.upper else self.bound - values",
            "over = self.bound - values if self.upper else values - self.bound",
        ),
    ),
    *_of(
        "loop.py",
        ("search/test_loop.py",),
        (
            "the last round is not cut",
            "proposed[: budget - start])",
            "proposed)",
        ),
        (
            "draws do not hang on the step",
            "words = (seed % 2**64, repetition, step,",
            "words = (seed % 2**64, repetition, 0,",
        ),
        (
            "repetitions are alike",
            "words = (seed % 2**64, repetition, step,",
            "words = (seed % 2**64, 0, step,",
        ),
        (
            "what was kept is forgotten",
            "worker.load(done[-1].kept)",
            "worker.load(worker.save())",
        ),
        (
            "a later equal takes the place of the best",
            "trial.score.merit > best[-1].score.merit",
            "trial.score.merit >= best[-1].score.merit",
        ),
    ),
    *_of(
        "searchers/local.py",
        ("search/searchers/test_simple.py",),
        (
            "climbs down",
            "trial.score.merit > self._best.score.merit",
            "trial.score.merit < self._best.score.merit",
        ),
        ("never begins anew", "if not self.near:  # a summit", "if False:"),
    ),
    *_of(
        "searchers/evolution.py",
        ("search/searchers/test_simple.py",),
        ("the oldest never die", "alive = history[-self.population :]", "alive = history"),
        ("the worst is the parent", "alive[max(rivals,", "alive[min(rivals,"),
    ),
    *_of(
        "searchers/base.py",
        ("search/searchers/test_simple.py",),
        (
            "asks again what was asked",
            "        if key in seen:\n            misses += 1\n            continue\n",
            "",
        ),
        (
            "a small space never ends",
            "return drawn + _listed(space, seen, count - len(drawn))",
            "return drawn",
        ),
    ),
    *_of(
        "log.py",
        ("search/test_run.py",),
        (
            "a torn line ends the search",
            "except (ValueError, TypeError, BadValueError):",
            "except ZeroDivisionError:",
        ),
        (
            "a line may stand anywhere",
            "if begun != step or not archs or step + len(archs) > self._budget:",
            "if not archs or step + len(archs) > self._budget:",
        ),
        (
            "rounds go on without what the searcher kept",
            "if self._remembers and _count(found) < self._budget:",
            "if False:",
        ),
    ),
    *_of(
        "run.py",
        ("search/test_run.py",),
        ("another seed takes up old trials", '            "seed": self.plan.seed,\n', ""),
        ("another budget takes up old trials", '            "budget": self.plan.budget,\n', ""),
    ),
    *_of(
        "conclude.py",
        ("search/test_run.py",),
        (
            "the front keeps what is beaten",
            "for trial, whether in zip(trials, unbeaten, strict=True) if whether]",
            "for trial, whether in zip(trials, unbeaten, strict=True)]",
        ),
        (
            "who found the optimum is not counted",
            "least = merit - _ROUNDING * max(1.0, abs(merit))",
            "least = merit + 1",
        ),
    ),
]
