"""What models are made of: one row a model, computed from its graph and its configuration."""

from __future__ import annotations

from typing import Any

import polars as pl

# Null where it does not apply or is not known, and in all columns of a failed row.
ANATOMY_COLUMNS: dict[str, Any] = {
    "model": pl.String,  # as it is named, such as resnet50.a1_in1k
    "architecture": pl.String,  # without the tag
    "status": pl.String,  # ok | failed
    "error": pl.String,  # why it failed
    "traced": pl.String,  # meta: shapes alone; hooks: a real forward pass with module hooks
    "flags": pl.String,  # what to doubt, sentences joined by spaces
    "family": pl.String,  # of architectures, such as resnet; the random effect of the rules
    "kind": pl.String,  # convolutional | attention | hybrid | mlp
    "stem": pl.String,  # in words, such as `conv 7x7/2, max 3x3/2`
    "stem_kernel": pl.Int64,  # width of the first convolution
    "stem_stride": pl.Int64,  # of the first convolution
    "stem_depth": pl.Int64,  # convolutions before the first stage
    "stem_reduction": pl.Int64,  # input size over that of the first stage
    "stem_effective_kernel": pl.Int64,  # receptive field of the first stage's input, pixels
    "stem_pool": pl.String,  # none | max | average | blur
    "patch_size": pl.Int64,  # where images are cut into patches that do not overlap
    "overlapping": pl.Boolean,  # whether the first convolution is wider than its stride
    "downsampling": pl.String,  # kind at every reduction in order, joined by commas
    "shortcut_downsampling": pl.String,  # of shortcuts: strided conv | average | max | none
    "anti_aliased": pl.Boolean,  # every reduction after the first convolution averages or blurs
    "head_pool": pl.String,  # average | max | token | attention | none | other
    "norms": pl.String,  # kinds of normalization, the most frequent first
    "activation": pl.String,  # the most frequent
    "depth": pl.Int64,  # layers with weights on the longest way
    "width": pl.Int64,  # features before the head
    "parameters": pl.Int64,
    "multiply_adds": pl.Int64,  # of convolutions, linear layers and attention; one image
    "input_size": pl.Int64,  # height in pixels
    "receptive_field": pl.Float64,  # pixels, of a feature before the head's pooling; inf: all
    "mean": pl.String,  # comma-separated, [0, 1] units
    "std": pl.String,
    "pixel_factor": pl.Float64,  # 1 / min std
    "classes": pl.Int64,
    "pretraining": pl.String,  # supervised | clip | mae | dino | ... ; what came before fine-tuning
    "pretraining_data": pl.String,  # such as in1k, in22k, laion2b
    "fine_tuning_data": pl.String,  # such as in1k; null where nothing was fine-tuned
    "objective": pl.String,  # classification | contrastive | masked | distillation | adversarial
    "tag": pl.String,
    "crop_fraction": pl.Float64,  # of the test crop
    "crop_mode": pl.String,
    "interpolation": pl.String,
}
