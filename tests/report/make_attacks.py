"""Attack runs written by hand into a small store: sample tables as the engine leaves them."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
from PIL import Image

from holdfast.records import PICTURE_COLUMNS, Store
from report.make_store import MODELS, add_run, samples_of

EPS = (2, 4, 8)  # 255ths
MEMBERS = {"apgd-ce": 100, "apgd-t": 900, "fab-t": 1800, "square": 5000}  # and their budgets
PGD = (
    "pgd(norm=linf, eps={eps}, steps=40, random_start=True, restarts=1, momentum=0.0, loss={loss})"
)
FMN = "fmn(norm=linf, steps=100, step_size=1.0, gamma=0.05)"
_RADII = (1.5, 4.0, 9.0)  # 255ths: typical size of the smallest perturbation, by model


def auto(place: int, version: str = "standard") -> str:
    """AutoAttack at the place-th radius, after the smaller ones."""
    after = ", ".join(f"{k}/255" for k in EPS[:place])
    tail = f", after=[{after}]" if after else ""
    return f"autoattack(norm=linf, eps={EPS[place]}/255, version={version}{tail})"


def sizes(model: int, clean: pl.DataFrame) -> np.ndarray:
    """Smallest perturbation of each sample in pixels of [0, 1]; 0 where clean is wrong."""
    rng = np.random.Generator(np.random.Philox(key=[7, model]))
    drawn = _RADII[model % 3] / 255 * rng.lognormal(0, 0.8, len(clean))
    return np.where(clean["correct"].to_numpy(), drawn, 0.0)


def attacked(
    model: int, eps: float, members: dict[str, int], *, after: float = 0.0
) -> pl.DataFrame:
    """Sample rows at `eps`, where those within `after` had fallen at smaller radii."""
    clean = samples_of(model, "clean", 150)
    needed, count = sizes(model, clean), len(clean)
    rng = np.random.Generator(np.random.Philox(key=[11, model]))
    fell, earlier = needed <= eps, (needed <= after) & (needed > 0)
    wrong, names = needed == 0, list(members)
    share = np.array([0.86, 0.1, 0.01, 0.03])[: len(names)]
    by = rng.choice(len(names), count, p=share / share.sum())
    stands = ~fell
    columns = {
        "norm": np.where(stands, np.nan, np.where(wrong, 0.0, np.maximum(needed, 0.9 * eps))),
        "broken_by": [
            None if s else "clean" if w else names[b]
            for s, w, b in zip(stands, wrong, by, strict=True)
        ],
    }
    total = np.zeros(count, dtype=np.int64)
    for place, (name, budget) in enumerate(members.items()):
        spent = np.where(by > place, budget, 1 + (rng.random(count) ** 3 * budget).astype(int))
        spent = np.where(stands, budget, np.where(by < place, 0, spent))
        columns[f"evals_{name}"] = np.where(wrong | earlier, 0, spent)
        total += columns[f"evals_{name}"]
    confidence = clean["confidence"].to_numpy()
    labels = clean["label"].to_numpy()
    hit = fell & ~wrong
    return clean.with_columns(
        correct=pl.Series(stands),
        prediction=pl.Series(np.where(hit, (labels + 3 + by) % 10, clean["prediction"])),
        confidence=pl.Series(
            np.where(hit, 0.45 + 0.4 * np.minimum(1, eps / needed.clip(1e-9) / 9), confidence)
        ),
        forward_evals=pl.Series(total + (0 if after else 1)),
        gradient_evals=pl.Series(total * 3 // 4),
        **{name: pl.Series(values) for name, values in columns.items()},
    )


def smallest(model: int) -> pl.DataFrame:
    """Sample rows of an attack without a radius; one image in ten stands."""
    rows = attacked(model, np.inf, {"fmn": 100})
    needed = sizes(model, samples_of(model, "clean", 150))
    stands = (np.arange(len(rows)) % 10 == 9) & (needed > 0)
    return rows.with_columns(
        norm=pl.Series(np.where(stands, np.nan, needed)),
        correct=pl.Series(stands),
        broken_by=pl.Series(
            [
                None if s else "clean" if n == 0 else "fmn"
                for s, n in zip(stands, needed, strict=True)
            ]
        ),
        evals_fmn=pl.Series(np.full(len(rows), 100)),
        forward_evals=pl.Series(np.full(len(rows), 101)),
    )


def pictures(rows: pl.DataFrame, side: int = 32) -> pl.DataFrame:
    """Twelve pictures: smooth gradients with a checkered perturbation."""
    shown = rows.filter(pl.col("norm").is_not_nan(), pl.col("norm") > 0).head(12)
    y, x = np.mgrid[:side, :side] / side
    found = []
    for row in shown.iter_rows(named=True):
        clean = np.stack([x, y, np.full_like(x, row["label"] / 10)], -1)
        signs = np.where(
            (np.arange(side)[:, None] // 4 + np.arange(side) // 4 + row["id"]) % 2, 1, -1
        )
        moved = clean + row["norm"] * signs[..., None]
        files = [clean, np.broadcast_to(0.5 + 0.5 * signs[..., None], clean.shape), moved]
        numbers = [row["id"], row["label"], row["label"], row["prediction"], row["norm"]]
        found.append(dict(zip(PICTURE_COLUMNS, [*numbers, *map(png, files)], strict=True)))
    return pl.DataFrame(found, schema=PICTURE_COLUMNS)


def png(image: np.ndarray) -> bytes:
    """PNG file of an image with values from 0 to 1."""
    body = io.BytesIO()
    Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8)).save(body, format="PNG")
    return body.getvalue()


def add_attack(store: Store, model: int, condition: str, rows: pl.DataFrame, **changes) -> str:
    """Write one attack run of `MODELS[model]`."""
    known = {"norm": "linf", "family": "attack", "seconds": 12.5, **changes}
    known["forward_evals"] = int(rows["forward_evals"].sum())
    known["gradient_evals"] = int(rows["gradient_evals"].sum())
    name = MODELS[model % 3] if model < 3 else f"timm:model_{model}"
    return add_run(store, known.pop("model", name), condition, rows, **known)


def add_attacks(store: Store, models: int = 3) -> Store:
    """AutoAttack at three radii, PGD, one transferred attack and FMN, for each model."""
    for model in range(models):
        earlier = 0.0
        for place, k in enumerate(EPS):
            rows = attacked(model, k / 255, MEMBERS, after=earlier)
            flags = ("black_box_stronger", "zero_gradients") if model == 1 and k == 8 else ()
            add_attack(
                store,
                model,
                auto(place),
                rows,
                eps=k / 255,
                flags=flags,
                pictures=pictures(rows) if k == 8 else None,
            )
            earlier = k / 255
        for loss in ("cross_entropy", "margin"):
            rows = attacked(model, 7.2 / 255, {"pgd": 40})
            add_attack(
                store, model, PGD.format(eps="8/255", loss=loss), rows, eps=8 / 255, steps=40
            )
        joined = PGD.format(eps="8/255", loss="cross_entropy") + (
            " + square(norm=linf, eps=8/255, queries=5000, p_init=0.8, restarts=1, loss=margin)"
            " from timm:resnet50@1a2b3c4d"
        )
        rows = attacked(model, 3 / 255, {"pgd": 40, "square": 5000})
        add_attack(store, model, joined, rows, eps=8 / 255)
        add_attack(store, model, FMN, smallest(model), eps=None, steps=100)
    return store
