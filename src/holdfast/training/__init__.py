"""Where weights come from: recipes, and the loop that follows them."""

from holdfast.training.api import Trained, train
from holdfast.training.events import Event, Finished, Noted, Options, Started, Validated
from holdfast.training.folders import read_recipe
from holdfast.training.presets import PRESETS, preset
from holdfast.training.reading import load_recipe, recipe_of, write_recipe
from holdfast.training.recipe import Recipe
from holdfast.training.run import resume
from holdfast.training.stepping import DivergedError, Stepped
from holdfast.training.trainer import Trainer

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
    "Trained",
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
