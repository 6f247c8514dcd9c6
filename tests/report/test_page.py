import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import plotly.graph_objects as go
import polars as pl
import pytest

from holdfast.core.errors import BadValueError, StoreError, UnknownNameError
from holdfast.records import Store
from holdfast.report import build_page
from holdfast.report.blocks import Figure, Figures, Option, Table
from holdfast.report.evidence import Evidence
from holdfast.report.sections import SECTIONS, ordered_sections
from report.make_store import MODELS, add_run, make_store, samples_of

EVIL = '<script>alert("x")</script>&<b>'


class Outline(HTMLParser):
    """Tags with their attributes, and the text of each section's first paragraphs."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def built(store, tmp_path, **settings):
    return build_page(store, tmp_path / "out", **settings).read_text(encoding="utf-8")


def visible(text):
    """The page without plotly and without the figures' data."""
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).replace(
        "\N{NO-BREAK SPACE}", " "
    )


def lead(text, section):
    body = text[text.index(f'<section id="{section}"') :]
    return re.search(r'<p class="lead">(.*?)</p>', body, flags=re.DOTALL)[1]


def blocks_of(store, kind):
    evidence = Evidence(store)
    contents = [section.build(evidence) for section in ordered_sections()]
    return [b for content in contents if content for b in content.blocks if isinstance(b, kind)]


def test_importing_the_report_does_not_import_torch():
    code = "import sys, holdfast.report; sys.exit('torch' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_the_page_and_both_tables_lie_side_by_side(page):
    assert ["index.html", "measurements.csv", "summary.csv"] == sorted(
        path.name for path in page.parent.iterdir()
    )


def test_the_page_asks_for_nothing_outside_itself(page):
    outline = Outline(page.read_text(encoding="utf-8"))
    addresses = {
        attributes[name]
        for _, attributes in outline.tags
        for name in ("src", "href", "srcset", "action", "data")
        if name in attributes
    }

    assert {"summary.csv", "measurements.csv"} == {a for a in addresses if not a.startswith("#")}


def test_the_page_forbids_requests(page):
    text = page.read_text(encoding="utf-8")

    assert "default-src 'none'" in text[: text.index("<title>")]


def test_styles_name_no_address(page):
    style = re.search(r"<style>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL)[1]

    assert not re.search(r"url\(|@import|http", style)


def test_plotly_is_inlined_once(page):
    assert 1 == page.read_text(encoding="utf-8").count("plotly.js v")


def test_every_registered_section_has_its_own_place():
    orders = [section.order for section in ordered_sections()]

    assert (len(SECTIONS), sorted(orders)) == (len(set(orders)), orders)


def test_every_id_is_unique(page):
    outline = Outline(page.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]

    assert sorted(set(ids)) == sorted(ids)


def test_every_figure_is_one_that_plotly_knows(store):
    figures = [
        figure
        for block in blocks_of(store, Figures)
        for option in block.options
        for figure in option.figures
    ]
    for figure in figures:
        # The page replaces this color by its own background.
        shapes = [
            {**shape, "line": {**shape["line"], "color": "white"}}
            for shape in figure.layout.get("shapes", ())
        ]
        go.Figure(data=list(figure.data), layout={**figure.layout, "shapes": shapes})

    assert len(figures) > 50


def test_every_option_fills_every_panel(store):
    assert all(
        block.panels == len(option.figures)
        for block in blocks_of(store, Figures)
        for option in block.options
    )


def test_every_row_has_a_cell_for_every_column(store):
    assert all(
        len(block.columns) == len(row) for block in blocks_of(store, Table) for row in block.rows
    )


def test_a_model_has_one_color_in_every_figure_and_no_other_has_it(store):
    colors = {
        (trace["name"], trace["line"]["color"])
        for block in blocks_of(store, Figures)
        for option in block.options
        for figure in option.figures
        for trace in figure.data
        if "name" in trace
    }
    names, hues = ({pair[place] for pair in colors} for place in (0, 1))

    assert (len(MODELS),) * 3 == (len(colors), len(names), len(hues))


def test_figure_data_cannot_end_the_script_it_stands_in():
    trace = {"text": "</script><!--"}
    text = Figures("name", "about", [Option("", [Figure([trace], {})])]).json

    assert "<" not in text and trace == json.loads(text)[0][0]["data"][0]


def test_figure_data_has_null_where_a_number_is_missing():
    trace = {"y": [math.nan, 1.0, math.inf]}
    text = Figures("name", "about", [Option("", [Figure([trace], {})])]).json

    assert [None, 1.0, None] == json.loads(text)[0][0]["data"][0]["y"]


def test_the_lead_names_the_best_model_with_its_interval(page):
    sentence = lead(visible(page.read_text(encoding="utf-8")), "noise")

    assert re.match(
        r"Of three models, timm:resnet18 keeps most accuracy: \d+\.\d % \[[\d., ]+\] "
        r"on average from sigma 0 to 0\.5",
        sentence,
    )


def test_the_lead_says_when_intervals_overlap(tmp_path):
    store = Store(tmp_path / "store")
    for model, value in (("a", 0.80), ("b", 0.79)):
        found = {"value": value, "low": value - 0.05, "high": value + 0.05, "count": 99}
        add_run(store, model, "clean", metrics={"accuracy": found})
    sentence = lead(visible(built(store, tmp_path)), "summary")

    assert sentence.endswith("the interval of b overlaps, so this page leaves their order open.")


def test_the_lead_is_silent_on_intervals_that_do_not_overlap(tmp_path):
    store = Store(tmp_path / "store")
    for model, value in (("a", 0.80), ("b", 0.60)):
        found = {"value": value, "low": value - 0.05, "high": value + 0.05, "count": 99}
        add_run(store, model, "clean", metrics={"accuracy": found})

    assert "overlap" not in lead(visible(built(store, tmp_path)), "summary")


def test_models_without_the_whole_grid_are_not_ranked_with_those_that_have_it(page):
    assert lead(visible(page.read_text(encoding="utf-8")), "summary").startswith(
        "Of the two models measured in full, timm:resnet18 keeps most accuracy"
    )


def test_failures_and_broken_images_are_told(page):
    assert "One run failed and one image could not be read." == lead(
        visible(page.read_text(encoding="utf-8")), "problems"
    )


def test_the_message_of_a_failed_run_is_shown(page):
    assert "CUDA out of memory" in visible(page.read_text(encoding="utf-8"))


def test_the_reason_of_a_broken_image_is_shown(page):
    assert "truncated file" in visible(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("section", ["noise", "corruptions", "severity", "calibration-shift"])
def test_a_store_of_clean_runs_alone_says_what_is_missing(tmp_path, section):
    store = make_store(tmp_path / "store", conditions=("clean",), broken=0)

    assert lead(visible(built(store, tmp_path)), section).startswith("Not measured")


def test_a_store_without_trouble_says_so(tmp_path):
    store = make_store(tmp_path / "store", conditions=("clean",), broken=0)

    assert lead(visible(built(store, tmp_path)), "problems").startswith("None:")


def test_a_store_in_which_everything_failed_has_a_page(tmp_path):
    store = Store(tmp_path / "store")
    add_run(store, "m", "clean", status="failed", error="boom")

    assert "boom" in visible(built(store, tmp_path))


def test_a_store_without_samples_has_a_page(tmp_path):
    store = Store(tmp_path / "store")
    found = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    add_run(store, "m", "clean", metrics={"accuracy": found})

    assert "Not drawn: no run kept its samples." == lead(
        visible(built(store, tmp_path)), "selective"
    )


def test_samples_without_a_finite_confidence_have_a_page(tmp_path):
    store = Store(tmp_path / "store")
    samples = samples_of(0, "clean", 20).with_columns(
        *(pl.lit(float("nan")).alias(name) for name in ("confidence", "nll", "brier")),
        correct=pl.lit(value=False),
    )
    add_run(store, "m", "clean", samples)

    assert "no data" in built(store, tmp_path)


def test_models_on_other_images_are_not_compared(tmp_path):
    store = make_store(tmp_path / "store", models=("a",), conditions=("clean",))
    add_run(store, "b", "clean", samples_of(1, "clean", 50), data="letters", data_digest="1e77e4")
    text = visible(built(store, tmp_path))

    assert "digits, test split, view model" in text and "Of two models" not in text


def test_an_attack_is_shown_with_its_radius(tmp_path):
    store = make_store(tmp_path / "store", models=("a",), conditions=("clean",))
    attack = "pgd(norm=linf, eps=8/255, steps=40)"
    add_run(
        store, "a", attack, samples_of(0, "clean", 50), eps=8 / 255, norm="linf", family="attack"
    )

    assert "PGD-40 Linf 8/255" in visible(built(store, tmp_path))


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evil")
    store = make_store(
        folder / "store",
        models=(EVIL, "other"),
        conditions=("clean", "gaussian_noise(sigma=0.1)", "fog(severity=1)"),
    )
    add_run(store, EVIL, "common11", status="failed", error=EVIL, data=EVIL, flags=(EVIL,))
    return built(store, folder, title=EVIL)


def test_what_a_person_wrote_starts_no_script(evil_page):
    assert EVIL not in evil_page and "<script>alert" not in evil_page


def test_what_a_person_wrote_adds_no_element(evil_page):
    scripts = sum(tag == "script" for tag, _ in Outline(evil_page).tags)

    assert 3 + evil_page.count('<script type="application/json">') == scripts


def test_what_a_person_wrote_is_escaped_for_plotly_too(evil_page):
    figures = re.findall(r'<script type="application/json">(.*?)</script>', evil_page, re.DOTALL)

    assert all("\\u003cscript" not in figure for figure in figures)


def test_the_summary_file_reads_back(page):
    frame = pl.read_csv(page.with_name("summary.csv"))

    assert sorted(MODELS) == frame["model"].to_list()


def test_the_measurements_file_has_every_row(page, store):
    frame = pl.read_csv(page.with_name("measurements.csv"), infer_schema_length=None)

    assert len(store.measurements()) == len(frame)


def test_mce_is_a_column_only_where_a_baseline_is_named(store, tmp_path):
    text = visible(built(store, tmp_path, baseline="alexnet"))

    assert 'data-key="mce"' in text and "needs the full grid" in text


def test_no_mce_is_shown_without_a_baseline(page):
    assert 'data-key="mce"' not in page.read_text(encoding="utf-8")


def test_an_unknown_baseline_is_refused(store, tmp_path):
    with pytest.raises(UnknownNameError, match="no baseline named 'resnet'"):
        build_page(store, tmp_path, baseline="resnet")


def test_a_baseline_with_gaps_is_refused(store, tmp_path):
    with pytest.raises(BadValueError, match="has 74 of the 75 conditions"):
        build_page(store, tmp_path, baseline=MODELS[-1])


def test_an_empty_store_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="holds no finished run; fill it with"):
        build_page(Store(tmp_path / "store"), tmp_path / "out")


def test_a_file_in_the_way_is_refused_with_what_to_do(tmp_path):
    store = make_store(tmp_path / "store", models=("a",), conditions=("clean",))
    (tmp_path / "out").write_text("in the way")

    with pytest.raises(StoreError, match="name another folder"):
        build_page(store, tmp_path / "out")


def test_the_same_store_gives_the_same_page(store, page, tmp_path):
    again = build_page(store, tmp_path, title="Small store")

    assert page.read_bytes() == again.read_bytes()


def test_building_again_replaces_the_page_and_leaves_nothing_else(tmp_path):
    store = make_store(tmp_path / "store", models=("a",), conditions=("clean",))
    built(store, tmp_path, title="first")
    text = built(store, tmp_path, title="second")

    assert ("<h1>second</h1>" in text, 3) == (True, len(list((tmp_path / "out").iterdir())))
