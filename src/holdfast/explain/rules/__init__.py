"""Design rules: which attributes of networks go with robustness, and how sure that is."""

from holdfast.explain.rules.attributes import Described, describe, read_given, trace_names
from holdfast.explain.rules.held_out import held_out
from holdfast.explain.rules.naming import Resolved, Resolver
from holdfast.explain.rules.outcomes import Outcomes, chosen_perturbation, outcomes_of
from holdfast.explain.rules.pairs import COMPARISONS, matched_sets, pair_effects
from holdfast.explain.rules.regression import Regression, regress
from holdfast.explain.rules.run import find_rules
from holdfast.explain.rules.verdicts import RULES, verdicts_on

__all__ = [
    "COMPARISONS",
    "RULES",
    "Described",
    "Outcomes",
    "Regression",
    "Resolved",
    "Resolver",
    "chosen_perturbation",
    "describe",
    "find_rules",
    "held_out",
    "matched_sets",
    "outcomes_of",
    "pair_effects",
    "read_given",
    "regress",
    "trace_names",
    "verdicts_on",
]
