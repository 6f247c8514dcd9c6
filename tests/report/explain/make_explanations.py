"""One explanation of each kind, filled by hand."""

from __future__ import annotations

import polars as pl

from holdfast.records.explanations import (
    ANATOMY_COLUMNS,
    AccuracyLine,
    Advice,
    Advised,
    Agreement,
    BestOf,
    Causal,
    Configuration,
    Consequence,
    Contrast,
    Effect,
    FineTuning,
    Gain,
    GroupTest,
    HeldOut,
    Layer,
    Linearity,
    ModelSlope,
    Odds,
    Pooling,
    Preprocess,
    Protocol,
    Proxy,
    RankedModel,
    Ranks,
    Response,
    Rules,
    Theory,
    Trained,
    Value,
    Variant,
    Verdict,
    write_anatomy,
    write_explanation,
)

SIGMAS = (0.0, 0.1, 0.3)
EVIL = "<b>net</b> & co"  # what a page must not take for markup


def value(center, half=0.02, count=3):
    return Value(value=center, low=center - half, high=center + half, count=count)


def make_causal():
    cells = [(stem, pool) for stem in (3, 5) for pool in ("average", "max")]
    curves = {cell: (0.98, 0.9 + 0.01 * place, 0.4) for place, cell in enumerate(cells)}
    return Causal(
        source="12 trainings",
        flags=("Accuracy against sigma is no straight line in 2 of 12 trainings.",),
        command="holdfast explain causal",
        model="small:stem(width=16)",
        data="trained on digits, train; measured on digits, test",
        epochs=16,
        images=500,
        train_images=1000,
        trained=tuple(
            Trained(
                stem=stem,
                pool=pool,
                seed=seed,
                accuracies=tuple(zip(SIGMAS, curves[stem, pool], strict=True)),
                slope=-1.9,
            )
            for stem, pool in cells
            for seed in range(3)
        ),
        variants=tuple(
            Variant(
                stem=stem,
                pool=pool,
                seeds=3,
                accuracies=tuple(
                    (level, value(one, 0.03))
                    for level, one in zip(SIGMAS, curves[stem, pool], strict=True)
                ),
                slope=value(-1.9, 0.1),
                stem_gain=value(5.0, 0.5),
                stem_ratio=value(12.0, 2.0),
            )
            for stem, pool in cells
        ),
        contrasts=(
            Contrast(
                what="stem 5 against 3",
                outcome="slope",
                difference=value(0.25, 0.1),
                p_value=0.0002,
                p_holm=0.0004,
            ),
            Contrast(
                what="average against max",
                outcome="slope",
                difference=value(-0.1, 0.3),
                p_value=0.4,
                p_holm=0.4,
            ),
            Contrast(
                what="stem 5 against 3",
                outcome="clean accuracy",
                difference=value(0.02, 0.01),
                p_value=0.03,
                p_holm=0.06,
            ),
            Contrast(
                what="average against max",
                outcome="clean accuracy",
                difference=value(0.0, 0.01),
                p_value=1.0,
                p_holm=1.0,
            ),
        ),
        verdict="A stem of 5 instead of 3 pixels made accuracy fall less.",
    )


def make_ranks():
    models = tuple(
        RankedModel(
            model=f"model {place}" if place else EVIL,
            clean=0.8 - 0.02 * place,
            perturbed=0.6 - 0.03 * place,
            clean_rank=place + 1,
            perturbed_rank=place + 1,
            rank_diff=0,
            slope=value(-0.5, 0.1, 3),
            r_squared=0.97,
            effective=0.01 * place,
            borda=10 - place,
            fair_borda=10 - place,
            score_sum=1.0,
            geometric=0.5,
            levels={"0": 0.8, "0.1": 0.7, "0.2": 0.5},
        )
        for place in range(6)
    )
    return Ranks(
        source="a store",
        flags=("Severity 5 is missing for one model.",),
        command="holdfast explain ranks store",
        perturbation="gaussian_noise",
        conditions=("gaussian_noise 0.1", "gaussian_noise 0.2"),
        models=models,
        agreements=(
            Agreement(first="clean", second="perturbed", spearman=value(0.8), kendall=value(0.7)),
        ),
        line=AccuracyLine(slope=1.1, intercept=-1.0, count=6, r_squared=0.9),
    )


def make_rules():
    effect = Effect(
        attribute="stem_kernel",
        contrast="per doubling",
        outcome="slope",
        method="regression",
        effect=value(0.05, 0.02, 40),
        p_value=0.001,
        p_holm=0.004,
        families=12,
    )
    pair = effect.model_copy(update={"method": "pairs", "note": "resnet50 / resnet50d"})
    return Rules(
        source="a store",
        flags=("Severity 5 is missing for one model.",),
        command="holdfast explain rules store",
        perturbation="gaussian_noise",
        levels=(0.1, 0.2, 0.3),
        models=40,
        described=38,
        effects=(effect, pair),
        verdicts=(
            Verdict(
                rule="Larger stems hold better",
                outcome="slope",
                judgement="holds",
                evidence="The slope rises by 0.05 a doubling.",
                effects=(effect,),
            ),
        ),
        held_out=(
            HeldOut(
                outcome="slope", spearman=value(0.3), within=value(0.6), splits=20, families=12
            ),
        ),
        linearity=(
            Linearity(metric="accuracy", count=40, low=0.8, median=0.97, high=0.99, straight=0.9),
        ),
        groups=(
            GroupTest(
                attribute="kind",
                outcome="slope",
                groups=("attention", "convolutional"),
                means=(-0.4, -0.6),
                counts=(20, 20),
                letters=("a", "b"),
                f_value=8.0,
                p_value=0.01,
            ),
        ),
        points=tuple(
            ModelSlope(
                model=f"model {place}",
                family="resnet",
                kind="convolutional",
                clean=0.7 + 0.01 * place,
                slope=-0.6 + 0.02 * place,
                r_squared=0.95,
                rank_diff=place - 2,
                drop=0.2,
                attributes={"stem_kernel": "7"},
            )
            for place in range(5)
        ),
    )


def make_theory():
    box = tuple(tuple(1 / 9 for _ in range(3)) for _ in range(3))
    response = Response(name="box 3", kernel=box, magnitude=box, gain=1 / 9)
    layers = tuple(
        Layer(
            name=f"layer{place}",
            kind="Conv2d" if place % 2 == 0 else "ReLU",
            place=place,
            shape=(8, 16, 16),
            noise=0.1 * (place + 1),
            signal=1.0,
            ratio=value(0.1 * (place + 1), 0.01, 16),
            gain=1.2,
        )
        for place in range(4)
    )
    return Theory(
        source=f"{EVIL} and 16 images",
        command="holdfast explain theory small:cnn",
        model=EVIL,
        stem="Conv2d blocks.0.0, 3 x 3, stride 1",
        stem_size=3,
        stem_stride=1,
        stem_gains=(0.5, 0.6, 0.7),
        stem_measured=value(0.6, 0.01, 16),
        stem_exact=0.6,
        responses=(response, response.model_copy(update={"name": "filter 0"})),
        kernels=(Gain(name="box 3x3", size=3, exact=1 / 9, law=1 / 9, simulated=value(0.111)),),
        resampling=(
            Gain(name="triangle, factor 2", size=2, exact=0.1, law=0.25, simulated=value(0.1)),
        ),
        pooling=(
            Pooling(
                size=2,
                mean_bias=0.0,
                mean_variance=0.25,
                mean_error=0.25,
                max_bias=1.03,
                max_variance=0.49,
                max_error=1.55,
                max_bound=1.67,
                mean_worst=0.5,
                max_worst=1.0,
            ),
        ),
        preprocessing=(Preprocess(name="its own", std=(0.25,), factor=4.0, against_inception=2.0),),
        layers=layers,
        sigma=0.1,
        images=16,
    )


def make_advice():
    noise = Consequence(
        condition="gaussian_noise(sigma=0.12)",
        predicted=value(0.05, 0.02, 500),
        measured=value(0.04, 0.02, 500),
        before=value(0.5, 0.04, 500),
        after=value(0.54, 0.04, 500),
    )
    clean = noise.model_copy(update={"condition": "clean", "measured": value(-0.005, 0.01, 500)})
    return Advice(
        source="imagenet-sample, test",
        command="holdfast explain advise small:cnn --data digits",
        model=EVIL,
        data="digits, test",
        images=500,
        conditions=("clean", "gaussian_noise(sigma=0.12)"),
        curve=((0.0, 0.9), (0.1, 0.6), (0.2, 0.3)),
        advised=(
            Advised(
                change="low_pass(std=0.6)",
                model="small:cnn+low_pass(std=0.6)",
                about="Blur the input.",
                why="The filter passes 0.3 of the noise.",
                equivalent_sigma=0.09,
                consequences=(clean, noise),
                helps=("gaussian_noise(sigma=0.12)",),
            ),
            Advised(change="average_pool", status="does not apply", why="There is no max pooling."),
        ),
        verdict="low_pass(std=0.6) helps.",
    )


def make_fine_tuning():
    def protocol(name):
        configurations = tuple(
            Configuration(
                backbone=f"net {place}",
                loss=loss,
                size="small",
                kind="convolutional",
                strategy="supervised",
                borda=100 - place,
                fair_borda=100.0 - place,
                score_sum=10.0,
                geometric=1.0,
                constant=0,
                means=(0.9, 0.5),
            )
            for place in range(2)
            for loss in ("TRADES", "Classic AT")
        )
        return Protocol(
            name=name,
            means=(0.9, 0.5),
            spearman=((1.0, 0.6), (0.6, 1.0)),
            mac=0.6,
            configurations=configurations,
            groups=(
                GroupTest(
                    attribute="size",
                    outcome="borda",
                    groups=("large", "small"),
                    means=(90.0, 80.0),
                    counts=(2, 2),
                    letters=("a", "b"),
                    f_value=5.0,
                    p_value=0.03,
                ),
            ),
            nested={"kind/size": 0.04, "kind": 0.2},
            odds=(Odds(group="all", wins=2, losses=1, odds_ratio=4.0, p_value=0.5),),
            best=(BestOf(dataset="pets", backbone="net 0", loss="TRADES", accuracies=(0.9, 0.5)),),
            chance=0,
        )

    return FineTuning(
        source="a table of 12 rows",
        command="holdfast explain fine-tuning table.csv",
        metrics=("clean", "linf"),
        rows=12,
        protocols=(protocol("FFT-50"), protocol("FFT-5")),
        proxies=(Proxy(cheap="FFT-5", dear="FFT-50", group="all", spearman=value(0.7)),),
        headline="Large convolutional networks come first.",
        datasets=("pets",),
        mac_global=0.7,
    )


def make_anatomy():
    described = {
        "model": "resnet50.a1_in1k",
        "architecture": "resnet50",
        "status": "ok",
        "traced": "meta",
        "family": "resnet",
        "kind": "convolutional",
        "stem": "conv 7x7/2, max 3x3/2",
        "stem_kernel": 7,
        "stem_stride": 2,
        "stem_depth": 1,
        "stem_pool": "max",
        "input_size": 224,
        "parameters": 25_557_032,
        "receptive_field": 483.0,
    }
    failed = {"model": EVIL, "architecture": "net", "status": "failed", "error": "no such layer"}
    rows = [dict.fromkeys(ANATOMY_COLUMNS) | row for row in (described, failed)]
    return pl.DataFrame(rows, schema=ANATOMY_COLUMNS)


MAKERS = (make_advice, make_rules, make_causal, make_theory, make_ranks, make_fine_tuning)


def write_all(folder):
    """One explanation of each kind, and anatomies."""
    for make in MAKERS:
        write_explanation(folder, make())
    write_anatomy(folder, make_anatomy())
    return folder
