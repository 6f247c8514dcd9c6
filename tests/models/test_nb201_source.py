import pytest
import torch

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models import load_model

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
SMALL = f"nb201:{CELL}(channels=4, cells=1)"


def test_a_cell_is_a_model_with_keyed_weights():
    first, second = load_model(SMALL, classes=3), load_model(SMALL, classes=3)
    images = torch.rand(2, 3, 16, 16)

    assert (2, 3) == first(images).shape
    assert torch.equal(first(images), second(images))
    assert 4 == first.net.stem[0].out_channels


def test_weights_of_another_number_of_classes_load(tmp_path):
    net = load_model(SMALL, classes=7).net
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    loaded = load_model(SMALL, weights=tmp_path / "weights.pth")
    images = torch.rand(2, 3, 16, 16)

    assert 7 == loaded.classes
    torch.testing.assert_close(net(images), loaded(images))


def test_what_is_wrong_is_told():
    with pytest.raises(BadValueError, match="did you mean nor_conv_3x3"):
        load_model("nb201:" + CELL.replace("3x3", "3x2"))
    with pytest.raises(UnknownNameError, match="did you mean channels"):
        load_model(f"nb201:{CELL}(chanels=4)")
    with pytest.raises(BadValueError, match="in_channels must be 1 or 3, got 2"):
        load_model(f"nb201:{CELL}(in_channels=2)")
    with pytest.raises(UnknownNameError, match="did you mean nb201:"):
        load_model(CELL)
