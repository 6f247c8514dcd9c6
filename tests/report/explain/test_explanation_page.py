"""One page of all explanations in a folder."""

from __future__ import annotations

import json
import re
import subprocess

import plotly.graph_objects as go
import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.core.version import VERSION
from holdfast.records.explanations import FILES, Causal, Ranks, write_explanation
from holdfast.report.explain import write_explanation_page
from report.explain.make_explanations import (
    EVIL,
    MAKERS,
    make_causal,
    make_ranks,
    make_rules,
    write_all,
)
from report.test_browser import QUIET

SCRIPT = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
TITLES = re.compile(r'<h2 id="([^"]+)-title">')
NOTICES = re.compile(r'<p class="notice">(.*?)</p>')
PROBE = """<script>
  const seen = {
    blocks: document.querySelectorAll(".figure-block").length,
    drawn: document.querySelectorAll(".figure-block:has(.js-plotly-plot .main-svg)").length,
    width: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    sections: document.querySelectorAll("main > section").length,
    links: Array.from(document.querySelectorAll("nav a"), (a) =>
      document.querySelector(a.getAttribute("href")) !== null),
  };
  const note = document.createElement("pre");
  note.id = "seen"; note.textContent = JSON.stringify(seen);
  document.body.append(note);
</script></body>"""


def text_of(folder):
    return write_explanation_page(folder).read_text(encoding="utf-8")


def notices(text):
    return [one for one in NOTICES.findall(text) if "Tables can be read" not in one]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("explanations"))


@pytest.fixture(name="text", scope="module")
def _text(folder):
    return text_of(folder)


def test_the_subtitle_tells_each_kind_and_of_what_it_is(text):
    subtitle = re.search(r'<p class="subtitle">(.*?)</p>', text)[1]

    assert subtitle.startswith("Advice on &lt;b&gt;net&lt;/b&gt; &amp; co, design rules under")
    assert "a causal check of stems and poolings" in subtitle
    assert subtitle.endswith("robust fine-tuning and anatomy of two models.")


def test_no_element_has_the_name_of_another(text):
    body = text.split("<main>")[1].split("</main>")[0]
    names = re.findall(r'\bid="([^"]+)"', body)

    assert len(names) == len(set(names))


def test_setup_comes_last_and_the_causal_check_after_the_rules(text):
    names = TITLES.findall(text)
    places = [names.index(one) for one in ("causal", "ranks", "fine-tuning", "setup")]

    assert sorted(places) == places
    assert "setup" == names[-1]


def test_a_doubt_that_two_share_is_told_once(text):
    assert 1 == sum("Severity 5 is missing" in one for one in notices(text))
    assert "Design rules and ranks: Severity 5 is missing for one model." in notices(text)


def test_sources_that_two_share_stand_once(text):
    setup = text.split('id="setup-title"')[1]

    assert "<dt>Design rules and ranks</dt><dd>a store</dd>" in setup
    assert 1 == setup.count("holdfast explain fine-tuning table.csv")


def test_what_people_wrote_is_no_markup(text):
    assert EVIL not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_every_figure_is_one_that_plotly_takes(text):
    figures = [
        figure
        for block in SCRIPT.findall(text)
        for option in json.loads(block)
        for figure in option
    ]

    assert len(figures) >= 8
    for figure in figures:
        go.Figure(figure)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_kind_alone_makes_a_page(make, tmp_path):
    write_explanation(tmp_path, make())

    assert "setup" in TITLES.findall(text_of(tmp_path))


def test_a_page_of_anatomies_alone_has_no_setup(folder, tmp_path):
    (tmp_path / "anatomy.parquet").write_bytes((folder / "anatomy.parquet").read_bytes())

    assert "setup" not in TITLES.findall(text_of(tmp_path))


def test_the_page_is_replaced_as_more_is_explained(tmp_path):
    write_explanation(tmp_path, make_ranks())
    first = text_of(tmp_path)
    write_explanation(tmp_path, make_causal())
    second = text_of(tmp_path)

    assert "causal" not in TITLES.findall(first)
    assert {"ranks", "causal"} <= set(TITLES.findall(second))


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_explanations_says_what_writes_one(name, tmp_path):
    with pytest.raises(MissingError, match=r"no explanation in .*`holdfast explain \.\.\. --out"):
        write_explanation_page(tmp_path / name)


@pytest.mark.parametrize("kind", [Ranks, Causal])
def test_a_damaged_file_is_named_and_the_old_page_stays(kind, tmp_path):
    write_explanation(tmp_path, make_ranks())
    before = text_of(tmp_path)
    (tmp_path / FILES[kind]).write_text('{"model": ', encoding="utf-8")
    with pytest.raises(BadValueError, match=rf"{FILES[kind]} is not what this version's"):
        write_explanation_page(tmp_path)

    assert before == (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_explanation_of_another_version_is_flagged(tmp_path):
    write_explanation(tmp_path, make_ranks().model_copy(update={"version": "0.0.1"}))
    write_explanation(tmp_path, make_rules().model_copy(update={"version": VERSION}))
    found = notices(text_of(tmp_path))

    assert f"Ranks: computed by holdfast 0.0.1, and this page is of {VERSION}." in found
    assert 2 == len(found)  # with the doubt that both share


def test_the_page_asks_for_nothing(text):
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)

    assert not re.search(r'(?:src|href)="(?:https?:)?//', outside)


@pytest.fixture(name="seen", scope="module")
def _seen(chromium, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    probed = folder / "page.html"
    probed.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [chromium, *QUIET, "--disable-quic", profile, "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1])


@pytest.mark.slow
def test_a_browser_draws_every_figure(seen):
    assert seen["blocks"] == seen["drawn"] > 5


@pytest.mark.slow
def test_nothing_makes_the_page_scroll_sideways(seen):
    assert 0 == seen["width"]


@pytest.mark.slow
def test_every_link_leads_to_its_section(seen):
    assert [True] * seen["sections"] == seen["links"]
