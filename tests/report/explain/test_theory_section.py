"""The sections of the page on theory."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from holdfast.explain.theory.kernels import ideal, kernel_table, noise_gain, response
from holdfast.explain.theory.pooling import pooling_table
from holdfast.explain.theory.preprocessing import preprocess, preprocessing_table
from holdfast.explain.theory.resampling import resampling_table
from holdfast.records.explanations import Layer, Response, Theory, Value, write_explanation
from holdfast.records.explanations.theory import TangentBound, TangentKernel
from holdfast.report.blocks import Figures, Gallery, Table
from holdfast.report.explain import write_explanation_page
from holdfast.report.explain._kernel_pictures import (
    magnitude_picture,
    passed_low,
    png,
    weights_picture,
)
from holdfast.report.explain.theory import sections


def layer(place, name, ratio, gain=math.nan, analytic=math.nan):
    value = Value(value=ratio, low=0.9 * ratio, high=1.1 * ratio, count=8)
    return Layer(
        name=name,
        kind="Conv2d",
        place=place,
        shape=(8, 4, 4),
        noise=0.5,
        signal=0.5 / ratio,
        ratio=value,
        gain=gain,
        analytic=analytic,
    )


def picture(name, kernel):
    kernel = np.asarray(kernel, float)
    return Response(
        name=name,
        kernel=[list(row) for row in kernel],
        magnitude=[list(row) for row in response(kernel)],
        gain=noise_gain(kernel),
    )


def theory(**other):
    high = np.array([[1.0, -1.0], [-1.0, 1.0]])
    known = {
        "model": "<b>net",
        "stem": "conv: 3 filters of 2x2 pixels, stride 1",
        "stem_gains": (4.0, 1.0, 0.0),
        "stem_exact": 5 / 3,
        "stem_measured": Value(value=1.7, low=1.6, high=1.8, count=8),
        "responses": (
            picture("filter 0", high),
            picture("filter 1", ideal("box", 7)),
            picture("box 3", ideal("box", 3)),
        ),
        "kernels": kernel_table(draws=50),
        "resampling": resampling_table(draws=50),
        "pooling": pooling_table(),
        "preprocessing": (preprocess("<b>net", (0.2,)), *preprocessing_table()),
        "layers": (
            layer(0, "<b>conv", 0.2, analytic=0.51),
            layer(1, "act", 0.5, 2.5),
            layer(2, "act#2", 0.4, 0.8),
            Layer(name="still", kind="Flatten", place=3, shape=(3,), noise=0.0, signal=0.0),
        ),
        "sigma": 0.12,
        "images": 8,
    }
    return Theory(**(known | other))


@pytest.fixture(scope="module")
def found():
    kernels = tuple(
        TangentKernel(name=name, smallest=2.0, condition=5.0, bound=bound, looser=0.5)
        for name, bound in (("clean", 0.1), ("all", 0.25), ("robust_all", math.nan))
    )
    bounds = TangentBound(images=16, beta=0.5, eps=8 / 255, steps=7, kernels=kernels)
    return theory(ntk=bounds)


def content(found, wanted):
    return next(content for name, _, content in sections(found) if name == wanted)


def blocks(found, name, kind):
    return [block for block in content(found, name).blocks if isinstance(block, kind)]


def test_leads_say_what_is_seen(found):
    names = [name for name, _, _ in sections(found)]

    assert ["theory", "theory-stem", "theory-tables", "theory-bounds"] == names
    way = content(found, "theory").lead
    assert "amplified most at act (Conv2d), where it grows 2.50 times" in way
    assert "to 0.500 [0.450," in way
    assert "at the last layer it is 0.400" in way
    stem = content(found, "theory-stem").lead
    assert stem.startswith("The stem is conv: 3 filters")
    assert "1.667 times the variance" in stem
    assert "measured 1.7 [1.6, 1.8] on eight images, +2.00 %" in stem
    assert "One filter gives nothing. The gains of the others run from 1 to 4." in stem
    assert "Of the two filters shown, 1 pass mostly low" in stem
    assert "1 mostly high ones" in stem
    general = content(found, "theory-tables").lead
    assert "0.111 of the variance for a 3x3 box, 0.020 for 7x7" in general
    assert "Halving a picture leaves 0.098 of it" in general
    assert "and 1 if it picks" in general
    assert "23 times the squared error" in general
    bounds = content(found, "theory-bounds")
    assert "0.25 for the clean error and no data for the robust one" in bounds.lead
    assert "8/255 Linf" in bounds.note
    assert "1.91" in content(found, "theory-tables").note
    assert "(2.23)" in content(found, "theory-tables").note


def test_figures_are_valid_and_say_what_a_dot_is(found):
    shown = [*blocks(found, "theory", Figures), *blocks(found, "theory-tables", Figures)]

    assert ["theory-way", "theory-gains"] == [one.name for one in shown]
    for block in shown:
        for (figure,) in json.loads(block.json):
            go.Figure(figure)
    band, line, marked = shown[0].options[0].figures[0].data
    assert [0, 1, 2] == line["x"]
    assert [0.2, 0.5, 0.4] == line["y"]
    assert [1] == marked["x"]
    assert len(band["x"]) == 6
    assert line["text"][0].startswith("&lt;b&gt;conv<br>Conv2d, 8 x 4 x 4<br>noise / signal 0.200")
    assert "exact noise 0.51" in line["text"][0]
    assert "2.50 times the layer before" in line["text"][1]
    assert "exact" not in line["text"][1]


def test_the_layer_with_the_largest_gain_is_named_first():
    grown = theory(layers=(layer(0, "a", 0.2), layer(1, "b", 0.24, 1.2), layer(2, "c", 0.6, 2.5)))
    figure = blocks(grown, "theory", Figures)[0].options[0].figures[0]

    assert "amplified most at c (Conv2d)" in content(grown, "theory").lead
    assert [2, 1] == figure.data[2]["x"]


def test_the_chart_of_gains_is_on_log_scales_with_the_law(found):
    figure = blocks(found, "theory-tables", Figures)[0].options[0].figures[0]
    law, *kinds = figure.data

    assert "log" == figure.layout["xaxis"]["type"] == figure.layout["yaxis"]["type"]
    assert all(math.isclose(y, x**-2) for x, y in zip(law["x"], law["y"], strict=True))
    assert ["box", "gaussian", "binomial"] == [one["name"] for one in kinds]
    assert np.allclose(kinds[0]["y"], law["y"])
    for one in kinds:
        assert min(one["error_y"]["array"]) >= 0


def test_tables_hold_every_row_and_leave_empty_what_is_not_claimed(found):
    (layers,) = blocks(found, "theory", Table)
    resampling, pooling, normalization = blocks(found, "theory-tables", Table)
    (bounds,) = blocks(found, "theory-bounds", Table)

    assert 4 == len(layers.rows)
    keys = [column.key for column in layers.columns]
    exact = [row[keys.index("exact")].text for row in layers.rows]
    assert ["0.51", "", "", ""] == exact
    assert (len(found.resampling), 6, 6, 3) == tuple(
        len(table.rows) for table in (resampling, pooling, normalization, bounds)
    )
    scaled = {row[0].order: row[3].order for row in resampling.rows}
    assert scaled["triangle, factor 2"] == pytest.approx(0.3906, abs=1e-4)
    assert "this model" == normalization.rows[0][0].detail
    assert "2.50" == normalization.rows[0][3].text
    assert "no data" == bounds.rows[2][3].text
    for table in (layers, resampling, pooling, normalization, bounds):
        assert {len(table.columns)} == {len(row) for row in table.rows}


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_pictures_are_files_that_others_read():
    drawn = pixels(png([[(1, 2, 3), (4, 5, 6)], [(7, 8, 9), (250, 251, 252)]]))

    assert (96, 96, 3) == drawn.shape
    assert [1, 2, 3] == list(drawn[0, 0])
    assert [4, 5, 6] == list(drawn[47, 95])
    assert [250, 251, 252] == list(drawn[95, 48])


def test_colors_tell_sign_and_size():
    drawn = pixels(weights_picture([[1.0, 0.0], [-1.0, 0.5]]))
    red, blue = drawn[..., 0].astype(int), drawn[..., 2].astype(int)

    assert red[0, 0] > blue[0, 0]
    assert [255, 255, 255] == list(drawn[0, -1])
    assert blue[-1, 0] > red[-1, 0]
    assert blue[0, 0] < blue[-1, -1] < 255
    assert [0, 255] == sorted(set(pixels(magnitude_picture([[0.0, 3.0]])).flatten()))
    assert 255 == pixels(weights_picture([[0.0]])).min()
    assert 0 == pixels(magnitude_picture([[0.0]])).max()


def test_the_gallery_shows_weights_and_response_of_each(found):
    (gallery,) = blocks(found, "theory-stem", Gallery)

    assert ["Filter 0", "Filter 1", "Box 3"] == [card.title for card in gallery.cards]
    for card, one in zip(gallery.cards, found.responses, strict=True):
        weights, passed = card.pictures
        assert weights.png == weights_picture(one.kernel)
        assert passed.png == magnitude_picture(one.magnitude)
        assert weights.small
        assert base64.b64decode(weights.source.partition(",")[2]) == weights.png
    assert "noise gain 0.111" == gallery.cards[2].text


def test_where_a_kernel_passes():
    delta = picture("filter 0", [[1.0]])

    side = len(delta.magnitude) - 1  # both ends are the same frequency
    assert passed_low(delta) == pytest.approx(((side // 2 - 1) / side) ** 2)
    assert passed_low(picture("filter 0", ideal("box", 7))) > 0.9
    assert passed_low(picture("filter 0", [[1.0, -1.0], [-1.0, 1.0]])) < 0.1
    assert math.isnan(passed_low(picture("filter 0", [[0.0]])))


def test_a_model_whose_layers_were_not_seen():
    empty = theory(layers=(), responses=(), stem="", stem_gains=(), stem_measured=Value())
    made = {name: content for name, _, content in sections(empty)}

    assert "No layer of <b>net was seen." == made["theory"].lead
    assert not made["theory"].measured
    assert "no linear stem" in made["theory-stem"].lead
    still = theory(layers=(layer(0, "a", 0.5), layer(1, "b", 0.4, 0.8)))
    assert "grows at no layer" in content(still, "theory").lead


def test_the_page_escapes_names_and_needs_no_network(found, tmp_path):
    write_explanation(tmp_path, found)
    text = write_explanation_page(tmp_path).read_text(encoding="utf-8")

    assert "<b>net" not in text
    assert "&lt;b&gt;net" in text
    for name in ("theory-way", "theory-kernels", "theory-gains", "theory-layers", "theory-bounds"):
        assert f'id="{name}"' in text
    assert 'src="http' not in text
