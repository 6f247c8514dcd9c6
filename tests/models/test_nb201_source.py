"""`nb201:CELL` as a model."""

from __future__ import annotations

import pytest
import torch

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models import known_models, load_model
from holdfast.models.nb201 import build_nb201

CELL = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|skip_connect~2|"
SMALL = f"nb201:{CELL}(channels=2, cells=1)"


def test_the_published_sizes_unless_others_are_asked_for():
    expected = sum(weight.numel() for weight in build_nb201(CELL).parameters())

    assert expected == load_model(f"nb201:{CELL}").parameter_count
    assert expected > load_model(SMALL).parameter_count


def test_fresh_weights_belong_to_cell_and_sizes_and_are_flagged():
    first, again = load_model(SMALL), load_model(f"nb201: {CELL} (cells=1, channels=2)")
    other = load_model(f"nb201:{CELL}(channels=3, cells=1)")

    assert (first.digest, first.identity) == (again.digest, again.identity)
    assert len({first.digest, other.digest}) == len({first.identity, other.identity}) == 2
    assert "untrained" in first.flags


def test_weights_and_classes_come_from_a_file(tmp_path):
    net = build_nb201(CELL, channels=2, cells=1, classes=4, in_channels=1).eval()
    torch.save(net.state_dict(), tmp_path / "a.pth")
    text = f"nb201:{CELL}(channels=2, cells=1, in_channels=1)"
    classifier = load_model(text, weights=tmp_path / "a.pth")
    images = torch.rand(2, 1, 8, 8)

    assert (4, 1, frozenset()) == (
        classifier.classes,
        classifier.preprocessing.channels,
        classifier.flags,
    )
    assert torch.equal(net(images), classifier(images))
    with pytest.raises(BadValueError, match="do not fit NB201Network"):
        load_model(SMALL.replace("nor_conv_1x1", "nor_conv_3x3"), weights=tmp_path / "a.pth")


def test_the_asked_number_of_classes():
    assert 3 == load_model(SMALL, classes=3).classes


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nb201:|none~0|", BadValueError, "is no NAS-Bench-201 cell: it has 1 nodes"),
        (f"nb201:{CELL}(channels=0)", BadValueError, "needs channels >= 1, got 0"),
        (f"nb201:{CELL}(in_channels=2)", BadValueError, "1 or 3 channels"),
        (f"nb201:{CELL}(cell=1)", UnknownNameError, "did you mean cells"),
        (f"nb201:{CELL}(cells=1", BadValueError, "cannot read the spec"),
        (CELL, UnknownNameError, "did you mean nb201:"),
    ],
)
def test_what_is_no_network_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        load_model(text)


def test_the_listing_says_how_a_name_is_written():
    notes = dict(known_models())

    assert "|nor_conv_3x3~0|+" in notes["nb201:CELL"]
