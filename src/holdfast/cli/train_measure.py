"""A network before and after its training, measured under the same conditions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.data import Dataset
    from holdfast.perturb.base import Perturbation
    from holdfast.training.recipe import Recipe


@dataclass(frozen=True)
class Measured:
    """What is measured when a training has ended; nothing without conditions.

    Attributes:
        recipe: Of the training.
        conditions: Clean is among them.
        dataset: Images.
        n: How many of them; None is all.
    """

    recipe: Recipe
    conditions: list[Perturbation]
    dataset: Dataset | None
    n: int | None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        perturb: list[str] | None,
        data: str | None,
        split: str,
        n: int | None,
    ) -> Measured:
        """Read the options, before hours go into the training.

        Raises:
            HoldfastError: Conditions or images that cannot be used.
        """
        from holdfast.core.errors import BadValueError
        from holdfast.data import open_dataset
        from holdfast.perturb.conditions import parse_conditions
        from holdfast.training.pretrain import SelfSupervised

        if not perturb:
            return cls(recipe, [], None, n)
        if isinstance(recipe.objective, SelfSupervised):
            raise BadValueError(
                f"--perturb measures accuracy, and {recipe.objective.name} learns without labels; "
                "leave it out, and measure what is fine-tuned from it"
            )
        conditions = parse_conditions(perturb)
        name = data or recipe.data.name
        return cls(
            recipe, conditions, open_dataset(name, split=split, labels=recipe.data.labels), n
        )

    def run(self, folder: Path, device: str, *, after_only: bool) -> None:
        """Measure both networks into `folder/store`; what is there already is kept."""
        if self.dataset is None:
            return
        from holdfast.cli.console import say
        from holdfast.cli.measure import run_all
        from holdfast.measuring import Options, open_subject
        from holdfast.models import load_model
        from holdfast.records import Store
        from holdfast.records.trainings import AFTER, BEFORE, STORE_FOLDER
        from holdfast.training.preparing import starting_point

        options = Options(study="training")
        networks = {AFTER: load_model(str(folder), device=device)}
        if not after_only:
            start = starting_point(self.recipe, len(self.dataset.classes), device=device)
            networks = {BEFORE: start, **networks}
        subjects = [
            open_subject(classifier, self.dataset, options, n=self.n, name=name)
            for name, classifier in networks.items()
        ]
        where = f"{self.dataset.name} {self.dataset.split}"
        say(f"measuring {' and '.join(networks)} on {where}")
        run_all(subjects, self.conditions, Store(folder / STORE_FOLDER), options)
