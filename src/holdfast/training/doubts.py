"""What a recipe allows and hardly anybody means: told before the first step."""

from __future__ import annotations

from holdfast.training.protocols import phases
from holdfast.training.recipe import Recipe

_FEW = 100  # images by which a checkpoint is chosen: an interval of 20 points


def doubts(recipe: Recipe, validation_images: int | None) -> list[str]:
    """Sentences about a recipe as it will be run.

    Args:
        recipe: Checked.
        validation_images: As many as are measured; None where there are none.
    """
    found = []
    schedule, epochs = recipe.schedule, recipe.train.epochs
    beyond = [one for one in schedule.milestones if one >= epochs]
    if schedule.kind == "step" and len(beyond) == len(schedule.milestones):
        listed = ", ".join(f"{one:g}" for one in beyond)
        found.append(
            f"schedule.milestones {listed} lie beyond the {epochs} epochs: the learning rate never "
            "falls; give others, or schedule.kind=cosine"
        )
    shortest = min(phase.epochs for phase in phases(recipe))
    if schedule.warmup >= shortest:
        found.append(
            f"schedule.warmup={schedule.warmup:g} lasts as long as "
            f"{'a phase' if len(phases(recipe)) > 1 else 'the training'} of {shortest} epochs, in "
            "which the learning rate only rises"
        )
    if validation_images is not None and validation_images < _FEW:
        found.append(
            f"the best checkpoint is chosen on {validation_images} images, and differences of "
            "several points between epochs are chance; data.validation=0.2 holds out more"
        )
    return found
