"""Where weights come from: recipes, and the loop that follows them."""

from holdfast.training.presets import PRESETS, preset
from holdfast.training.reading import load_recipe, recipe_of, write_recipe
from holdfast.training.recipe import Recipe
from holdfast.training.run import (
    Event,
    Finished,
    Noted,
    Options,
    Started,
    Validated,
    read_recipe,
    resume,
    train,
)
from holdfast.training.trainer import DivergedError, Stepped, Trainer

__all__ = [
    "PRESETS",
    "DivergedError",
    "Event",
    "Finished",
    "Noted",
    "Options",
    "Recipe",
    "Started",
    "Stepped",
    "Trainer",
    "Validated",
    "load_recipe",
    "preset",
    "read_recipe",
    "recipe_of",
    "resume",
    "train",
    "write_recipe",
]
