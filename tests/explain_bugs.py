"""Known bugs of explanations, for `tests/mutants.py`."""

from __future__ import annotations

from bug import Bug


def _of(file: str, tests: tuple[str, ...], *bugs: tuple[str, str, str]) -> list[Bug]:
    return [Bug(*bug, file=file, tests=tests) for bug in bugs]


_ORDERS = ("explain/test_statistics_orders.py",)
_STRUCTURE = ("explain/anatomy/test_structure.py",)
_SURGERY = ("models/test_surgery.py",)
_ADVICE = ("explain/advice",)

EXPLAIN = [
    *_of(
        "explain/statistics/places.py",
        _ORDERS,
        (
            "the worst model is first",
            "(-first[one], -second[one], names[one])",
            "(first[one], -second[one], names[one])",
        ),
        (
            "a model that moved up has a negative rank difference",
            "before[name] - place for name",
            "place - before[name] for name",
        ),
    ),
    *_of(
        "explain/statistics/multiplicity.py",
        ("explain/test_statistics_variance.py",),
        (
            "corrected p-values are not monotone",
            "np.minimum(np.maximum.accumulate(scaled), 1)",
            "np.minimum(scaled, 1)",
        ),
    ),
    *_of(
        "explain/statistics/effective.py",
        _ORDERS,
        (
            "the accuracy line is fitted without the logit scale",
            "special.logit(np.clip(values, margin, 1 - margin))",
            "np.clip(values, margin, 1 - margin)",
        ),
    ),
    *_of(
        "explain/statistics/scores.py",
        _ORDERS,
        (
            "constant answers keep their places",
            "ranks[np.isneginf(lowered)] = 1.0",
            "pass",
        ),
    ),
    *_of(
        "explain/anatomy/_states.py",
        _STRUCTURE,
        (
            "a receptive field grows without regard to the resolution",
            "(kernel - 1) * operation.dilation * before.jump",
            "(kernel - 1) * operation.dilation",
        ),
        (
            "a gate sees what it was computed from",
            "states = [one for one in states if not one.pooled]",
            "states = [*states]",
        ),
    ),
    *_of(
        "explain/theory/kernels.py",
        ("explain/theory/test_formulas.py",),
        (
            "the gain of a kernel is the sum of its weights",
            "(np.asarray(kernel, np.float64) ** 2).sum()",
            "np.abs(np.asarray(kernel, np.float64)).sum()",
        ),
    ),
    *_of(
        "explain/theory/preprocessing.py",
        ("explain/theory/test_formulas.py",),
        (
            "the factor of a preprocessing is that of its widest channel",
            "return 1 / min(std, default=1.0)",
            "return 1 / max(std, default=1.0)",
        ),
    ),
    *_of(
        "models/surgery/_parts.py",
        _SURGERY,
        ("a blur makes pictures brighter", "return taps / taps.sum()", "return taps"),
    ),
    *_of(
        "models/surgery/average_pooling.py",
        _SURGERY,
        (
            "padding is averaged as if it were black pixels",
            "count_include_pad=False",
            "count_include_pad=True",
        ),
    ),
    *_of(
        "models/surgery/normalization.py",
        _SURGERY,
        ("another deviation is not undone", "conv.weight.mul_(factor)", "pass"),
    ),
    *_of(
        "explain/advice/predicting.py",
        _ADVICE,
        (
            "a displacement has no measure of its own",
            "(moved / self.spread).sqrt()",
            "moved.sqrt()",
        ),
        (
            "the prediction forgets what the original has under the noise",
            "value=then.value - now.value,",
            "value=then.value,",
        ),
    ),
    *_of(
        "explain/advice/tuned.py",
        _ADVICE,
        ("fine-tuning begins with a fresh last layer", ', "part": "all"}', "}"),
    ),
    *_of(
        "explain/advice/verdict.py",
        _ADVICE,
        (
            "loss on clean pictures is no objection",
            "return (False, lost > clean_loss + _ROUNDING, -_measured(one, noise))",
            "return (False, False, -_measured(one, noise))",
        ),
    ),
]
