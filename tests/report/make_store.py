"""A small store made through the real API, from models whose curves are known."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from holdfast.core.specs import parse_spec
from holdfast.metrics.summary import summarize
from holdfast.records import BROKEN_COLUMNS, SAMPLE_COLUMNS, Measurement, RunSpec, Store, run_id
from holdfast.report.conditions import GROUPS, SEVERITIES, STANDARD

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
NOISE = tuple(f"gaussian_noise(sigma={sigma})" for sigma in SIGMAS)
CORRUPTED = tuple(f"{name}(severity={s})" for name in STANDARD for s in SEVERITIES)
EVERY = ("clean", *NOISE, *CORRUPTED)
MODELS = ("timm:resnet18", "timm:vit_small_patch16_224", "torchvision:squeezenet1_0")
_GROUP = {name: place for place, group in enumerate(GROUPS.values()) for name in group}


def damage(condition: str) -> float:
    """How much a condition takes, 0 for clean and about 1 for the worst."""
    spec = parse_spec(condition)
    arguments = dict(spec.arguments)
    if "sigma" in arguments:
        return 1.6 * float(arguments["sigma"])
    if "severity" in arguments and spec.name in STANDARD:
        weight = 0.5 + 0.12 * _GROUP[spec.name] + 0.05 * (STANDARD.index(spec.name) % 3)
        return weight * int(arguments["severity"]) / 5
    return 0.0 if condition == "clean" else 0.6


def accuracy_of(model: int, condition: str) -> float:
    """Accuracy that the generator aims at: models differ in height and in slope."""
    return max(0.02, (0.92 - 0.06 * model) * (1 - (0.55 + 0.15 * model) * damage(condition)))


def samples_of(model: int, condition: str, count: int) -> pl.DataFrame:
    """Per-sample rows; confidence is the accuracy's own, plus an overconfidence under damage."""
    rng = np.random.Generator(np.random.Philox(key=[model, len(condition)]))
    accuracy = accuracy_of(model, condition)
    hardness = rng.random(count)
    chance = np.clip(accuracy + 0.6 * (0.5 - hardness), 0.01, 0.995)
    correct = rng.random(count) < chance
    confidence = np.clip(chance + (0.02 + 0.25 * damage(condition)) * (1 - chance), 0.11, 0.999)
    labels = np.arange(count) % 10
    right = np.where(correct, confidence, (1 - confidence) / 9)
    return pl.DataFrame(
        {
            "id": np.arange(count),
            "label": labels,
            "prediction": np.where(correct, labels, (labels + 1) % 10),
            "confidence": confidence,
            "correct": correct,
            "top5": correct | (rng.random(count) < 0.8),
            "nll": -np.log(right),
            "brier": np.square(1 - right) + 9 * np.square((1 - right) / 9),
            "forward_evals": np.ones(count, dtype=np.int64),
            "gradient_evals": np.zeros(count, dtype=np.int64),
        },
        schema=SAMPLE_COLUMNS,
    )


def family_of(condition: str) -> str:
    """Kind of a condition, as the measuring loop fills it."""
    if condition == "clean":
        return "clean"
    if condition.startswith("pgd"):
        return "attack"
    return "noise" if "sigma=" in condition else "corruption"


def add_run(
    store: Store,
    model: str,
    condition: str,
    samples: pl.DataFrame | None = None,
    *,
    metrics: dict | None = None,
    broken: int = 0,
    pictures: pl.DataFrame | None = None,
    **changes: object,
) -> str:
    """Write one run; `metrics` stands in for what `samples` give, `changes` go into its rows."""
    key = {
        "model": model,
        "weights_digest": hashlib.sha256(model.encode()).hexdigest(),
        "data_digest": "da7a" * 16,
        "split": "test",
        "view": "model",
        "seed": 0,
        "condition": condition,
    }
    key |= {name: changes[name] for name in key.keys() & changes.keys()}
    run = run_id(RunSpec(source_digest=str(changes.get("data", "")), **key))
    attacked = changes.get("family") == "attack"
    arguments = {} if attacked else dict(parse_spec(condition).arguments)
    common = {
        "run_id": run,
        "status": "ok",
        "data": "digits",
        "family": family_of(condition),
        "severity": arguments.get("severity"),
        "sigma": arguments.get("sigma"),
        "broken": broken,
        "forward_evals": 0 if samples is None else len(samples),
        "seconds": 1.5,
        "device": "cpu",
        "dtype": "float32",
        "holdfast_version": "0.1.0",
        "torch_version": "2.15.0",
        **key,
        **changes,
    }
    if metrics is None and samples is not None:
        columns = {name: samples[name].to_numpy() for name in samples.columns}
        metrics = {name: vars(found) for name, found in summarize(columns, resamples=8).items()}
    rows = [Measurement(metric=name, **part, **common) for name, part in (metrics or {}).items()]
    if common["status"] != "ok":
        rows = [Measurement(metric="accuracy", **common)]
    lost = pl.DataFrame(
        [
            {"id": 900 + n, "name": f"img_{n}.png", "reason": "truncated file"}
            for n in range(broken)
        ],
        schema=BROKEN_COLUMNS,
    )
    with store.building(run) as builder:
        builder.finish(rows, samples, lost, pictures)
    return run


def make_store(path, *, models=MODELS, conditions=EVERY, count=150, broken=1) -> Store:
    """Store of `models` under `conditions`; the last model's last run failed."""
    store = Store(path)
    for place, model in enumerate(models):
        for condition in conditions:
            if model == models[-1] and condition == conditions[-1] and len(conditions) > 1:
                add_run(store, model, condition, status="failed", error="CUDA out of memory")
            else:
                samples = samples_of(place, condition, count)
                add_run(store, model, condition, samples, broken=broken)
    return store
