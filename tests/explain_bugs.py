"""Known bugs of explanations, for `tests/mutants.py`."""

from __future__ import annotations

from bug import Bug


def _of(file: str, tests: tuple[str, ...], *bugs: tuple[str, str, str]) -> list[Bug]:
    return [Bug(*bug, file=file, tests=tests) for bug in bugs]


_ORDERS = ("explain/test_statistics_orders.py",)
_VARIANCE = ("explain/test_statistics_variance.py",)
_STRUCTURE = ("explain/anatomy/test_structure.py",)
_SURGERY = ("models/test_surgery.py",)
_ADVICE = ("explain/advice",)
_DIFFERENCES = ("explain/advice/test_differences.py",)
_FORMULAS = ("explain/theory/test_formulas.py",)
_REGRESSION = ("explain/rules/test_regression.py",)
_RULES = ("explain/rules/test_rules.py",)

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
        _VARIANCE,
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
        (
            "the accuracy line is fitted the wrong way round",
            "_fit(across[both], up[both])",
            "_fit(up[both], across[both])",
        ),
    ),
    *_of(
        "explain/statistics/scores.py",
        _ORDERS,
        ("constant answers keep their places", "ranks[np.isneginf(lowered)] = 1.0", "pass"),
        (
            "tied models share the mean of their places",
            'return _summed(_table(accuracies), "min")',
            'return _summed(_table(accuracies), "average")',
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
        _FORMULAS,
        (
            "the gain of a kernel is the sum of its weights",
            "(np.asarray(kernel, np.float64) ** 2).sum()",
            "np.abs(np.asarray(kernel, np.float64)).sum()",
        ),
    ),
    *_of(
        "explain/theory/preprocessing.py",
        _FORMULAS,
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
    *_of(
        "explain/statistics/variance.py",
        _VARIANCE,
        (
            "degrees of freedom forget the groups",
            "int(self.counts.sum()) - len(self.names)",
            "int(self.counts.sum()) - 1",
        ),
        (
            "distances of means forget the half of Tukey and Kramer",
            "np.sqrt(found.error / 2 * (",
            "np.sqrt(found.error * (",
        ),
        (
            "letters of many groups forget the level",
            "isf(alpha, count, found.freedom)",
            "isf(0.05, count, found.freedom)",
        ),
    ),
    *_of(
        "explain/_accuracies.py",
        ("explain/test_ranking.py",),
        (
            "slopes leave out clean images",
            "found = {0.0: clean} if np.isfinite(clean).any() else {}",
            "found = {}",
        ),
        (
            "means are over the conditions that there are",
            "perturbed=values.mean(1),",
            "perturbed=np.nanmean(values, 1),",
        ),
    ),
    *_of(
        "explain/fine_tuning.py",
        ("explain/test_fine_tuning.py",),
        (
            "a constant answer counts on other data sets",
            "np.repeat(constant, len(METRICS), axis=1)",
            "np.tile(constant, (1, len(METRICS)))",
        ),
        (
            "agreement of metrics counts each with itself",
            "np.triu_indices(rows.shape[1], 1)",
            "np.triu_indices(rows.shape[1], 0)",
        ),
        (
            "the best of a data set is that of the greatest sum",
            "np.lexsort((here.sum(1), counts))[-1]",
            "np.lexsort((counts, here.sum(1)))[-1]",
        ),
    ),
    *_of(
        "records/testbed.py",
        ("records/test_testbed.py",),
        (
            "percent are taken for fractions",
            'return frame.with_columns(pl.col("value") / _PERCENT)',
            "return frame",
        ),
    ),
    *_of(
        "explain/tables.py",
        _RULES,
        (
            "both recordings of a corruption are read",
            "rows = _of_recording(table.rows, recording, flags)",
            "rows = table.rows",
        ),
    ),
    *_of(
        "explain/rules/pairs.py",
        ("explain/rules/test_pairs.py",),
        (
            "effects are a pixel's and not a doubling's",
            "across = keys if set(means) == {0.0, 1.0} else np.log2(keys)",
            "across = keys",
        ),
        (
            "intervals of few sets are normal",
            "stats.t.ppf(0.5 + LEVEL / 2, count - 1)",
            "stats.norm.ppf(0.5 + LEVEL / 2)",
        ),
        (
            "small steps of size add up",
            "size <= _NEAR * (rows[groups[-1][0]]",
            "size <= _NEAR * (rows[groups[-1][-1]]",
        ),
    ),
    *_of(
        "explain/rules/mixed.py",
        _REGRESSION,
        ("the likelihood is not restricted", "            + np.linalg.slogdet(cross)[1]\n", ""),
    ),
    *_of(
        "explain/rules/held_out.py",
        _REGRESSION,
        (
            "rules are tried on families that made them",
            "spearman(predicted[other], values[other]).value",
            "spearman(predicted[rows], values[rows]).value",
        ),
    ),
    *_of(
        "explain/rules/outcomes.py",
        _RULES,
        ("the median of R^2 is its mean", "median=float(median)", "median=float(known.mean())"),
        (
            "the mean calibration error counts clean images",
            "for level, value in curve.items() if level != 0]",
            "for level, value in curve.items()]",
        ),
    ),
    *_of(
        "explain/rules/verdicts.py",
        _RULES,
        ("verdicts forget the correction", "one.p_holm < ALPHA", "one.p_value < ALPHA"),
    ),
    *_of(
        "explain/theory/stems.py",
        ("explain/theory/test_stems.py",),
        (
            "variance is divided by the deviation",
            "(energy / scale[seen] ** 2)",
            "(energy / scale[seen])",
        ),
        ("a pool after a filter divides by its side", "made / window**2", "made / window"),
    ),
    *_of(
        "explain/theory/resampling.py",
        _FORMULAS,
        ("resizing is not anti-aliased", '{} if mode == "nearest" else {"antialias": True}', "{}"),
    ),
    *_of(
        "explain/theory/bounds.py",
        ("explain/theory/test_bounds.py",),
        ("the bound grows with the number of images", ".sum())) / len(kernel))", ".sum())))"),
    ),
    *_of(
        "explain/theory/propagation.py",
        ("explain/theory/test_propagation.py",),
        (
            "the signal counts the mean of a channel",
            "- (2 * means * center - center**2).mean(1)",
            "- 0 * means.mean(1)",
        ),
    ),
    *_of(
        "models/surgery/larger_stem.py",
        _SURGERY,
        (
            "a kernel is embedded off its middle",
            "F.pad(old, (half,) * 4)",
            "F.pad(old, (self.add, 0) * 2)",
        ),
    ),
    *_of(
        "models/small.py",
        ("models/test_small.py",),
        (
            "a wider stem shrinks the map",
            "width, kernel, padding=kernel // 2",
            "width, kernel, padding=1",
        ),
    ),
    *_of(
        "explain/anatomy/_operations.py",
        _STRUCTURE,
        (
            "convolutions of groups count as dense",
            "products = called.out.numel() * weight[0].numel()",
            "products = called.out.numel() * weight[0].numel() * groups",
        ),
    ),
    *_of(
        "explain/anatomy/structure.py",
        _STRUCTURE,
        (
            "one blur makes a network anti-aliased",
            "return all(kind in _AVERAGING",
            "return any(kind in _AVERAGING",
        ),
        (
            "a resolution that was seen before is a reduction",
            "if _reduces(states, step) and jump > lowest:",
            "if _reduces(states, step):",
        ),
    ),
    *_of(
        "explain/anatomy/origin.py",
        ("explain/anatomy/test_origin.py",),
        (
            "data of fine-tuning count as pretraining",
            "if word in _LATER), len(words))",
            "if word in _LATER and False), len(words))",
        ),
    ),
    *_of(
        "explain/advice/run.py",
        _DIFFERENCES,
        (
            "a gain that chance can explain helps",
            "if one.measured.low > 0]",
            "if one.measured.value > 0]",
        ),
        (
            "the difference has the wrong sign",
            "_value(paired_difference(old, new))",
            "_value(paired_difference(new, old))",
        ),
    ),
    *_of(
        "explain/advice/candidates.py",
        _DIFFERENCES,
        (
            "noise behind a smaller input",
            'return "native" if change.name == "resolution" else view',
            "return view",
        ),
    ),
    *_of(
        "explain/causal/findings.py",
        ("explain/test_causal.py",),
        (
            "a contrast is not paired by what else was varied",
            "first[key] - second[key] for key in first",
            "list(first.values())[0] - second[key] for key in first",
        ),
    ),
    *_of(
        "report/explain/_rules_figures.py",
        ("report/explain/test_rules_section.py",),
        ("dots are filled by uncorrected p", "one.p_holm < _SURE", "one.p_value < _SURE"),
    ),
    *_of(
        "report/explain/advice.py",
        ("report/explain/test_advice_section.py",),
        (
            "an interval's ends are exchanged",
            "_end(value.high - value.value)",
            "_end(value.value - value.low)",
        ),
    ),
]
