"""Which training-free proxies a random forest goes by when it predicts accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError
from holdfast.search.tables.table import BenchmarkTable, Column

TREES = 100
TEST_SHARE = 0.2
SEED = 42
REPEATS = 10  # permutations of each proxy; the paper's code leaves this to the library
_LARGEST = float(np.finfo(np.float32).max)
_FEWEST = 10  # architectures; fewer leave a test set of one


@dataclass(frozen=True)
class Importance:
    """What a forest found.

    Attributes:
        names: The proxies.
        impurity: Mean decrease of impurity by each, adding up to 1.
        permutation: Mean loss of R^2 on the test part when a proxy is shuffled.
        permutation_spread: Standard deviation of that over the shuffles.
        train_r2: R^2 of the forest on what it was fitted to.
        test_r2: R^2 on the part that was held out.
        out_of_bag_r2: R^2 of each training row by the trees that did not see it.
        train: Architectures that it was fitted to.
        test: Architectures held out.
    """

    names: tuple[str, ...]
    impurity: tuple[float, ...]
    permutation: tuple[float, ...]
    permutation_spread: tuple[float, ...]
    train_r2: float
    test_r2: float
    out_of_bag_r2: float
    train: int
    test: int


def proxy_importance(
    proxies: ArrayLike, names: Sequence[str], targets: ArrayLike, *, seed: int = SEED
) -> Importance:
    """Fit a random forest to proxies and rank them by what it uses.

    Source: Lukasik, Moeller and Keuper 2023, "An Evaluation of Zero-Cost Proxies": 100 trees,
    80 % of the architectures for the fit, seed 42; several targets make one forest. The
    permutation importance is measured on the held-out part. Rows with a value that is not finite
    are left out.

    Args:
        proxies: One row an architecture, [A, P].
        names: Of the P proxies.
        targets: Accuracies [A], or several [A, T].
        seed: Of the split, the forest and the shuffles.

    Raises:
        BadValueError: Shapes that do not agree, or fewer than ten whole rows.
    """
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 - slow, and few need it
    from sklearn.inspection import permutation_importance  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    features, wanted = _whole_rows(proxies, names, targets)
    fitted, held, fitted_to, held_to = train_test_split(
        features, wanted, test_size=TEST_SHARE, random_state=seed
    )
    forest = RandomForestRegressor(
        n_estimators=TREES, oob_score=True, bootstrap=True, random_state=seed
    ).fit(fitted, fitted_to)
    shuffled = permutation_importance(forest, held, held_to, n_repeats=REPEATS, random_state=seed)
    return Importance(
        names=tuple(names),
        impurity=tuple(map(float, forest.feature_importances_)),
        permutation=tuple(map(float, shuffled.importances_mean)),
        permutation_spread=tuple(map(float, shuffled.importances_std)),
        train_r2=float(forest.score(fitted, fitted_to)),
        test_r2=float(forest.score(held, held_to)),
        out_of_bag_r2=float(forest.oob_score_),
        train=len(fitted),
        test=len(held),
    )


def importance_of(
    rows: pl.DataFrame, table: BenchmarkTable, columns: Sequence[Column], *, seed: int = SEED
) -> Importance:
    """As `proxy_importance`, of scores by proxies and of what a table has of the same cells.

    Several scores of an architecture by a proxy are averaged. A proxy without a finite score is
    left out, so that it does not take all others with it.

    Args:
        rows: Of `proxies.run.SCHEMA`: columns arch, proxy and value are read.
        table: Recorded scores.
        columns: Of the table; several make one forest.
        seed: Of the split, the forest and the shuffles.

    Raises:
        BadValueError: No column, or fewer than ten architectures that have all.
    """
    if not columns:
        raise BadValueError("a forest predicts one column or more, got none")
    wide = rows.pivot(
        "proxy", index="arch", values="value", aggregate_function="mean", maintain_order=True
    )
    scores = wide.drop("arch").to_numpy().astype(np.float64)
    known = np.isfinite(scores).any(axis=0)
    names = [name for name, there in zip(wide.columns[1:], known, strict=True) if there]
    found = [table.lookups(column, wide["arch"]) for column in columns]
    targets = np.array(found, dtype=np.float64).T  # None becomes NaN
    return proxy_importance(scores[:, known], names, targets, seed=seed)


def _small(features: np.ndarray) -> np.ndarray:
    """Columns as they are, or their logarithms where float32, which forests use, cannot hold them.

    A tree asks for the order of values alone; SynFlow of a deep network passes 1e38.
    """
    large = np.abs(np.where(np.isfinite(features), features, 0.0)) > _LARGEST
    if features.ndim != 2 or not large.any():
        return features
    logarithms = np.sign(features) * np.log1p(np.abs(features))
    return np.where(large.any(axis=0), logarithms, features)


def _whole_rows(
    proxies: ArrayLike, names: Sequence[str], targets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    features = _small(np.asarray(proxies, dtype=np.float64))
    wanted = np.asarray(targets, dtype=np.float64)
    if features.ndim != 2 or features.shape[1] != len(names) or len(features) != len(wanted):
        raise BadValueError(
            f"expected proxies [A, {len(names)}], a column a name, and A targets; got the shapes "
            f"{features.shape} and {wanted.shape}"
        )
    joined = np.concatenate([features, wanted.reshape(len(wanted), -1)], axis=1)
    whole = np.isfinite(joined).all(axis=1)
    if int(whole.sum()) < _FEWEST:
        raise BadValueError(
            f"{int(whole.sum())} of {len(whole)} architectures have every proxy and target; "
            f"a forest needs {_FEWEST} or more"
        )
    wanted = wanted[whole]
    single = wanted.ndim == 2 and wanted.shape[1] == 1
    return features[whole], wanted[:, 0] if single else wanted
