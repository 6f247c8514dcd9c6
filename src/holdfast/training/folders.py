"""What a folder holds before a run begins or goes on in it."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.errors import BadValueError, ChangedInputError, HoldfastError, MissingError
from holdfast.records.trainings import (
    BEST_FILE,
    CHECKPOINT_FILE,
    LAST_FILE,
    RECIPE_FILE,
    TRAINING_FILE,
    Training,
    read_training,
)
from holdfast.training.preparing import Prepared
from holdfast.training.reading import read_body, recipe_of
from holdfast.training.recipe import Recipe, changed_fields


def read_recipe(folder: Path) -> Recipe:
    """Recipe of the run in a folder.

    Raises:
        MissingError: There is none.
    """
    path = folder / RECIPE_FILE
    if not path.is_file():
        raise MissingError(f"no {RECIPE_FILE} in {folder}: `holdfast train run` writes it")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadValueError(
            f"{path} is no text in UTF-8 ({error}); delete it, and `holdfast train run` with the "
            "recipe goes on"
        ) from error
    return recipe_of(read_body(text, str(path)))


def known_run(folder: Path, recipe: Recipe) -> Training | None:
    """What is in the folder, if it is a run of this recipe."""
    if not (folder / TRAINING_FILE).is_file():
        _refuse_foreign(folder, recipe)
        return None
    there = read_training(folder)
    if there.digest == recipe.digest:
        return there
    changes = changed_fields(recipe_of(there.recipe), recipe)
    told = f"{folder} holds a run of another recipe: {'; '.join(changes) or 'an older form of it'}"
    if there.status == "failed":
        raise ChangedInputError(
            f"{told}. That one has failed: delete the folder, or choose another, to begin anew"
        )
    raise ChangedInputError(f"{told}. Choose another folder, or take these fields back")


def _refuse_foreign(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder whose files a new run would replace, though no run wrote them."""
    path = folder / RECIPE_FILE
    there = [name for name in (BEST_FILE, LAST_FILE, CHECKPOINT_FILE) if (folder / name).exists()]
    if path.is_file():
        try:
            same = read_recipe(folder).digest == recipe.digest
        except HoldfastError:
            same = False
        there += [] if same else [RECIPE_FILE]
    if there:
        raise BadValueError(
            f"{folder} holds {', '.join(there)}, but no {TRAINING_FILE}, so no run that could be "
            "gone on with; choose another folder, or move these files away"
        )


def check_inputs(known: Training, prepared: Prepared, folder: Path) -> None:
    """Refuse other images, weights or code than the run began with."""
    recipe = prepared.recipe
    changed = []
    if known.data_fingerprint != prepared.fingerprint:
        changed.append(f"the images of {recipe.data.name}")
    if known.start_digest != prepared.start_digest:
        changed.append(f"the weights or the code of {recipe.model.name}")
    if changed:
        raise ChangedInputError(
            f"{' and '.join(changed)} are not those that the run in {folder} began with; bring "
            "them back, or choose another folder"
        )
