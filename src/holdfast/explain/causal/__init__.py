"""A causal check: one network, trained with other stems and poolings and nothing else changed.

What a table of published models shows is a correlation: their stems differ along with everything
else. Here the stem alone is set, the body starts from the same weights, and the images come in the
same order, so that a difference beyond the scatter of seeds is caused by the stem.
"""

from holdfast.explain.causal.design import Cell, Design
from holdfast.explain.causal.experiment import Done, experiment
from holdfast.explain.causal.findings import after_a_look, conclude

__all__ = ["Cell", "Design", "Done", "after_a_look", "conclude", "experiment"]
