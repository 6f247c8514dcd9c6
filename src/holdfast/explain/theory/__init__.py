"""Why noise is passed on: kernels, resampling, pooling, normalization, and real networks."""

from holdfast.explain.theory.bounds import ntk_bounds
from holdfast.explain.theory.kernels import ideal, kernel_table, noise_gain, response
from holdfast.explain.theory.pooling import max_moments, pool_of, pooling_table
from holdfast.explain.theory.preprocessing import pixel_factor, preprocessing_table
from holdfast.explain.theory.propagation import Propagation, propagate
from holdfast.explain.theory.resampling import resampling_gain, resampling_table
from holdfast.explain.theory.run import amplifying, random_fields, theory_of
from holdfast.explain.theory.stems import Stem, averaged, noise_gains, stem_of

__all__ = [
    "Propagation",
    "Stem",
    "amplifying",
    "averaged",
    "ideal",
    "kernel_table",
    "max_moments",
    "noise_gain",
    "noise_gains",
    "ntk_bounds",
    "pixel_factor",
    "pool_of",
    "pooling_table",
    "preprocessing_table",
    "propagate",
    "random_fields",
    "resampling_gain",
    "resampling_table",
    "response",
    "stem_of",
    "theory_of",
]
