"""Sections of the page: the robust fine-tuning grid as one study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from holdfast.records.explanations import BestOf, Configuration, FineTuning, Odds, Protocol
from holdfast.records.searches import Correlations
from holdfast.report import numbers
from holdfast.report.blocks import (
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    JsonDict,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.explain._fine_tuning_groups import group_content, p_text
from holdfast.report.explain.ranks import correlation_cell
from holdfast.report.figures import Axis, style
from holdfast.report.search.plots import Cloud, correlation_map, scatter

Section = tuple[str, str, Content]
_METRICS = {
    "clean": "clean",
    "linf": "L\u221e 4/255",
    "l2": "L2 2.0",
    "l1": "L1 75",
    "common": "corruptions",
}
_MAP_HEIGHT, _MAP_WIDTH = 380, 520  # pixels


def sections(found: FineTuning) -> Sequence[Section]:
    """Headline, ranking, groups, losses, metrics, cheap proxies, best of all, pitfalls."""
    built = [
        ("fine-tuning", "Robust fine-tuning: the answer", _headline(found)),
        ("fine-tuning-ranking", "Robust fine-tuning: ranking", _ranking(found)),
        ("fine-tuning-groups", "Robust fine-tuning: which backbones", group_content(found)),
        ("fine-tuning-losses", "Robust fine-tuning: TRADES or classic", _losses(found)),
        ("fine-tuning-metrics", "Robust fine-tuning: which metrics agree", _metrics(found)),
    ]
    if found.proxies:
        built.append(("fine-tuning-proxies", "Robust fine-tuning: cheap proxies", _proxies(found)))
    built.append(("fine-tuning-best", "Robust fine-tuning: best of each data set", _best(found)))
    built.append(("fine-tuning-pitfalls", "Robust fine-tuning: pitfalls", _pitfalls(found)))
    return built


def _headline(found: FineTuning) -> Content:
    columns = [
        Column("protocol", "Protocol"),
        Column("count", "Configurations", numeric=True),
        *(Column(one, _metric(one), "mean accuracy", numeric=True) for one in found.metrics),
        Column("chance", "Near chance", "rows with a clean accuracy below 2 %", numeric=True),
    ]
    rows = [
        [
            Cell(one.name, "", one.name),
            number_cell(len(one.configurations), numbers.count(len(one.configurations))),
            *(number_cell(mean, numbers.percent(mean)) for mean in one.means),
            number_cell(one.chance, numbers.count(one.chance)),
        ]
        for one in found.protocols
    ]
    table = Table("fine-tuning-means", "Mean accuracies", columns, rows, sortable=False)
    note = (
        "Heuillet et al. 2025 fine-tuned 40 backbones with two adversarial losses: all weights for "
        "50 epochs (FFT-50) or 5 (FFT-5), or the head alone for 50 (LP-50). Means are over all "
        "configurations and data sets; AutoAttack in three norms, and one corruption an image."
    )
    return Content(found.headline, [table], note)


def _ranking(found: FineTuning) -> Content:
    by_key = {one.name: _by_key(one) for one in found.protocols}
    first = found.protocols[0]
    keys = list(dict.fromkeys(key for one in by_key.values() for key in one))
    columns = [
        Column("backbone", "Backbone", "size, kind and pretraining below"),
        Column("loss", "Loss"),
    ]
    for one in found.protocols:
        columns += [
            Column(f"borda-{one.name}", f"Borda {one.name}", "and fair Borda below", numeric=True),
            Column(f"sum-{one.name}", f"Sum {one.name}", "geometric score below", numeric=True),
        ]
    rows = [_row(key, by_key) for key in keys]
    best = first.configurations[0]
    top = sum(one.kind == "convolutional" for one in first.configurations[:10])
    lead = (
        f"{best.backbone} with {best.loss} is first under {first.name} (Borda {best.borda:,}, sum "
        f"{numbers.decimal(best.score_sum, 2)}); {numbers.counted(top, 'backbone')} of the first "
        f"ten {'is' if top == 1 else 'are'} convolutional."
    )
    note = (
        "Borda sums, over data sets and accuracies, the rank from below among the configurations "
        "of a protocol, ties at their least place, as the authors do. Fair Borda, ours, takes "
        "mid-ranks and gives place 1 where a model looks like a constant answer. The sum is "
        "over all accuracies; the geometric score sums their products over data sets."
    )
    return Content(lead, [Table("fine-tuning-table", "All configurations", columns, rows)], note)


def _row(
    key: tuple[str, str], by_key: Mapping[str, Mapping[tuple[str, str], Configuration]]
) -> list[Cell]:
    known = next(some[key] for some in by_key.values() if key in some)
    cells = [
        Cell(known.backbone, f"{known.size} {known.kind}, {known.strategy}", known.backbone),
        Cell(known.loss, "", known.loss),
    ]
    for some in by_key.values():
        one = some.get(key)
        if one is None:
            cells += [Cell(numbers.NO_DATA), Cell(numbers.NO_DATA)]
            continue
        fair = f"fair {one.fair_borda:,.0f}"
        if one.constant:
            fair += f", constant on {one.constant}"
        cells.append(number_cell(one.borda, numbers.count(one.borda), fair))
        product = numbers.decimal(one.geometric, 3)
        cells.append(number_cell(one.score_sum, numbers.decimal(one.score_sum, 2), product))
    return cells


def _by_key(protocol: Protocol) -> dict[tuple[str, str], Configuration]:
    return {(one.backbone, one.loss): one for one in protocol.configurations}


def _losses(found: FineTuning) -> Content:
    groups = list(dict.fromkeys(odds.group for one in found.protocols for odds in one.odds))
    columns = [Column("group", "Backbones")]
    columns += [
        Column(one.name, one.name, "wins of TRADES : of classic", numeric=True)
        for one in found.protocols
    ]
    rows = [
        [
            Cell(numbers.sentence(group), "", place),
            *(_odds_cell(_of(one, group)) for one in found.protocols),
        ]
        for place, group in enumerate(groups)
    ]
    first = found.protocols[0]
    told = [
        f"{one.wins} of {one.wins + one.losses} {one.group}"
        for one in first.odds
        if one.group != "all" and one.wins + one.losses
    ]
    lead = (
        f"Under {first.name}, TRADES beats classic adversarial training for "
        f"{numbers.listing(told)} backbones."
        if told
        else "The table has no pair of TRADES and classic adversarial training."
    )
    note = (
        "A win is a higher sum of all accuracies with the same backbone. The odds ratio and "
        "Fisher's exact p are those of the table (wins, losses; losses, wins), as the authors "
        "compute them; each pair stands in it twice, so p is smaller than that of a sign test."
    )
    table = Table("fine-tuning-odds", "TRADES against classic", columns, rows, sortable=False)
    return Content(lead, [table] if rows else [], note)


def _of(protocol: Protocol, group: str) -> Odds | None:
    return next((one for one in protocol.odds if one.group == group), None)


def _odds_cell(odds: Odds | None) -> Cell:
    if odds is None or math.isnan(odds.odds_ratio):
        return Cell(numbers.NO_DATA)
    ratio = "\u221e" if math.isinf(odds.odds_ratio) else numbers.decimal(odds.odds_ratio, 2)
    detail = f"odds ratio {ratio}, p {p_text(odds.p_value)}"
    return Cell(f"{odds.wins} : {odds.losses}", detail, odds.wins - odds.losses)


def _metrics(found: FineTuning) -> Content:
    names = tuple(_metric(one) for one in found.metrics)
    options = [
        Option(
            one.name,
            [correlation_map(Correlations(columns=names, kendall=()), one.spearman, "rho")],
        )
        for one in found.protocols
    ]
    told = [f"{numbers.decimal(one.mac, 3)} under {one.name}" for one in found.protocols]
    lead = (
        f"Accuracies agree by a mean absolute correlation, within data sets, of "
        f"{numbers.listing(told)}."
    )
    first = found.protocols[0].name
    note = (
        "Spearman's rho over all rows of a protocol. The mean absolute correlation is of the pairs "
        "off the diagonal within a data set, averaged over data sets; over all rows together it is "
        f"{numbers.decimal(found.mac_global, 3)} under {first}."
    )
    about = "Rank correlations between the accuracies"
    block = Figures("fine-tuning-correlations", about, options, _MAP_HEIGHT, min_width=_MAP_WIDTH)
    return Content(lead, [block], note)


def _proxies(found: FineTuning) -> Content:
    columns = [
        Column("cheap", "Cheap protocol"),
        Column("group", "Configurations"),
        Column("rho", f"Spearman's rho with {found.proxies[0].dear}", numeric=True),
        Column("count", "Pairs", numeric=True),
    ]
    rows = [
        [
            Cell(one.cheap, "", one.cheap),
            Cell(one.group, "", one.group),
            correlation_cell(one.spearman),
            number_cell(one.spearman.count, numbers.count(one.spearman.count)),
        ]
        for one in found.proxies
    ]
    every = [one for one in found.proxies if one.group == "all"]
    best = max(every or found.proxies, key=lambda one: one.spearman.value)
    lead = (
        f"{best.cheap} ranks configurations as {best.dear} does by a Spearman correlation of "
        f"{numbers.decimal(best.spearman.value, 2)} "
        f"{numbers.interval(best.spearman.low, best.spearman.high, digits=2)}."
    )
    table = Table("fine-tuning-proxies-table", "Cheap proxies", columns, rows)
    note = "Correlations of the sum of all accuracies, over the same backbones and losses."
    return Content(lead, [_proxy_figure(found), table], note)


def _proxy_figure(found: FineTuning) -> Figures:
    dear = next(one for one in found.protocols if one.name == found.proxies[0].dear)
    goal = _by_key(dear)
    options = []
    for cheap in found.protocols:
        if cheap is dear:
            continue
        pairs = [
            (one, goal[one.backbone, one.loss])
            for one in cheap.configurations
            if (one.backbone, one.loss) in goal
        ]
        clouds = [
            _cloud(loss, place, [pair for pair in pairs if pair[0].loss == loss])
            for place, loss in enumerate(sorted({one.loss for one, _ in pairs}))
        ]
        across = Axis(f"Sum of accuracies, {cheap.name}")
        up = Axis(f"Sum of accuracies, {dear.name}")
        options.append(Option(cheap.name, [scatter(clouds, None, across, up)]))
    about = f"Sums of accuracies of a cheap protocol against {dear.name}"
    return Figures("fine-tuning-proxies-figure", about, options, 420)


def _cloud(loss: str, place: int, pairs: Sequence[tuple[Configuration, Configuration]]) -> Cloud:
    texts = [
        f"{label(one.backbone)}<br>{label(one.loss)}<br>{numbers.decimal(one.score_sum, 2)} "
        f"to {numbers.decimal(other.score_sum, 2)}"
        for one, other in pairs
    ]
    return Cloud(
        loss, place, [one.score_sum for one, _ in pairs], [one.score_sum for _, one in pairs], texts
    )


def _best(found: FineTuning) -> Content:
    columns = [
        Column("dataset", "Data set"),
        Column("protocol", "Protocol"),
        Column("backbone", "Backbone"),
        *(Column(one, _metric(one), numeric=True) for one in found.metrics),
    ]
    rows = [
        [
            Cell(one.dataset, "", one.dataset),
            Cell(protocol.name, "", protocol.name),
            Cell(one.backbone, _tied(one), one.backbone),
            *(number_cell(value, numbers.percent(value)) for value in one.accuracies),
        ]
        for protocol in found.protocols
        for one in protocol.best
    ]
    first = found.protocols[0]
    kinds = {(one.backbone, one.loss): one.kind for one in first.configurations}
    won = sum(kinds[one.backbone, one.loss] == "convolutional" for one in first.best)
    lead = (
        f"Under {first.name}, convolutional backbones are best on {won} of {len(first.best)} data "
        "sets."
    )
    note = "Best is the highest Borda count within the data set, of equal ones the highest sum."
    return Content(lead, [Table("fine-tuning-best-table", "Best", columns, rows)], note)


def _tied(one: BestOf) -> str:
    return f"{one.loss}; as good by Borda: {', '.join(one.tied)}" if one.tied else one.loss


def _pitfalls(found: FineTuning) -> Content:
    options = [Option(one.name, [_fairness(one)]) for one in found.protocols]
    figure = Figures("fine-tuning-fairness", "Borda against fair Borda", options, 420)
    moved = [
        (one.borda - one.fair_borda, one, protocol)
        for protocol in found.protocols
        for one in protocol.configurations
        if one.constant
    ]
    lead = "No configuration looks like a constant answer."
    if moved:
        count = sum(one.constant for _, one, _ in moved)
        _, worst, where = max(moved, key=lambda item: item[0])
        lead = (
            f"{numbers.sentence(numbers.counted(count, 'result'))} look like a constant answer, "
            f"which Borda can favour: {worst.backbone} with {worst.loss} has {worst.borda:,} under "
            f"{where.name} and {worst.fair_borda:,.0f} by fair Borda."
        )
    note = (
        "A constant answer has the same low accuracy under every attack. Where honest models fall "
        "to 0 % they share the least place, and the constant answer stands above them. "
        f"{numbers.count(found.lost_workers)} of "
        f"{numbers.count(found.rows * len(found.metrics))} accuracies are no whole number of the "
        "usual test images, so they were measured on a part of them."
    )
    return Content(lead, [figure], note)


def _fairness(protocol: Protocol) -> Figure:
    names = ("no constant answer", "constant on some data sets")
    traces: list[JsonDict] = []
    for place, name in enumerate(names):
        some = [one for one in protocol.configurations if bool(one.constant) == bool(place)]
        drawn = style(place)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [one.borda for one in some],
                "y": [one.fair_borda for one in some],
                "text": [
                    f"{label(one.backbone)}<br>{label(one.loss)}<br>Borda {one.borda:,}, fair "
                    f"{one.fair_borda:,.0f}<br>constant on {one.constant} data sets"
                    for one in some
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": drawn.color, "symbol": drawn.marker, "size": 8}
                | {"opacity": 0.7},
            }
        )
    layout = {
        "xaxis": Axis("Borda").layout(),
        "yaxis": Axis("Fair Borda").layout(),
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
    }
    return Figure(traces, layout)


def _metric(name: str) -> str:
    return _METRICS.get(name, name)
