"""What is varied, what is held, and the recipe of every training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError, unknown_name
from holdfast.models.small import small_stem
from holdfast.perturb.conditions import NOISE_SWEEP
from holdfast.training import Recipe, recipe_of
from holdfast.training.reading import override

POOLS = ("average", "max")
# What the design itself decides.
_OURS = ("data.", "model.", "seed", "validate.", "protocol.", "train.epochs")


@dataclass(frozen=True)
class Cell:
    """One training: a stem's kernel in pixels, its pooling, and a seed."""

    stem: int
    pool: str
    seed: int

    @property
    def name(self) -> str:
        """Such as `stem 5, max pooling, seed 0`."""
        return f"stem {self.stem}, {self.pool} pooling, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Design:
    """The experiment; every cell of kernels x pools x seeds is trained by one recipe.

    Attributes:
        data: Training images, as `holdfast measure --data` takes them.
        split: Of `data`.
        test_data: Images that are measured; None is `data`.
        test_split: Of these.
        labels: As `--labels`, of both.
        kernels: Widths of the stem's convolution, odd; the smallest is what others are held
            against.
        pools: average, max or both.
        seeds: How many, from 0.
        epochs: Of each training.
        train_count: Train on so many images, the same ones for all; None takes all.
        test_count: Measure so many, the same ones for all; None takes all.
        size: Side in pixels to which images are brought; None leaves them as they are.
        width: Filters of the stem.
        sigmas: Levels of the noise, pixel units of [0, 1].
        overrides: Fields of the recipe to replace, each `section.field=value`.

    Raises:
        BadValueError: Nothing is varied, or a value out of its range.
    """

    data: str = "digits"
    split: str = "train"
    test_data: str | None = None
    test_split: str = "test"
    labels: str | None = None
    kernels: tuple[int, ...] = (3, 5, 7)
    pools: tuple[str, ...] = POOLS
    seeds: int = 3
    epochs: int = 16
    train_count: int | None = None
    test_count: int | None = None
    size: int | None = None
    width: int = 16
    sigmas: tuple[float, ...] = NOISE_SWEEP
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs"):
            check_whole(name, getattr(self, name))
        self._check_varied()
        if len(set(self.sigmas)) < 2 or min(self.sigmas) <= 0:
            raise BadValueError(
                f"sigmas must be two or more different levels above 0, got {list(self.sigmas)}"
            )
        for text in self.overrides:
            if text.strip().startswith(_OURS):
                raise BadValueError(
                    f"{text!r} is what the experiment sets itself; replace fields of train, "
                    "optimizer, schedule or augment"
                )
        self.recipe(self.cells[0])  # else the first training would refuse it

    def _check_varied(self) -> None:
        _distinct("kernels", self.kernels)
        _distinct("pools", self.pools)
        for pool in self.pools:
            if pool not in POOLS:
                raise unknown_name("pooling", pool, POOLS)
        for kernel in self.kernels:
            small_stem(2, kernel=kernel, width=self.width)  # which says what is wrong
        if len(self.kernels) * len(self.pools) < 2:
            raise BadValueError(
                f"nothing is varied: kernel {self.kernels[0]} and {self.pools[0]} pooling are one "
                "network; give a second kernel, as in --kernels 3,5,7, or --pools average,max"
            )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All trainings, seed by seed, so that what is finished can be compared early."""
        return tuple(
            Cell(stem, pool, seed)
            for seed in range(self.seeds)
            for stem in self.kernels
            for pool in self.pools
        )

    @property
    def model(self) -> str:
        """The network, but for what is varied."""
        return f"small:stem(width={self.width})"

    def network(self, cell: Cell) -> str:
        """Spec of the network of a cell."""
        return f"small:stem(kernel={cell.stem}, pool={cell.pool}, width={self.width})"

    def recipe(self, cell: Cell) -> Recipe:
        """Recipe of a cell; only `model.name` and `seed` differ between cells.

        AdamW with a one-cycle rate, as `holdfast demo` trains; the last weights are kept, so that
        no image helps to choose them.
        """
        body: dict[str, Any] = {
            "data": {
                "name": self.data,
                "split": self.split,
                "validation": None,
                "labels": self.labels,
                "n": self.train_count,
                "size": self.size,
            },
            "model": {"name": self.network(cell)},
            "protocol": {"kind": "scratch"},
            "train": {"epochs": self.epochs, "batch_size": 64},
            "optimizer": {"kind": "adamw", "lr": 4e-3, "weight_decay": 5e-4, "decay_all": True},
            "schedule": {"kind": "onecycle"},
            "validate": {"train_n": 0, "every": self.epochs},
            "seed": cell.seed,
        }
        return recipe_of(override(body, self.overrides))


def _distinct(name: str, values: Sequence[Any]) -> None:
    if not values or len(set(values)) != len(values):
        raise BadValueError(f"{name} must be different from each other, got {list(values)}")
