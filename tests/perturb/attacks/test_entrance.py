import numpy as np
import pytest
import torch
from attacks.crowd import Curved, images_of

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks.craft import craft
from holdfast.perturb.attacks.entrance import as_images, as_tensor, as_whole

MODEL = Curved((3, 8, 8), 4).eval()
LEVELS = images_of((3, 8, 8), 6).mul(255).round().to(torch.uint8)
IMAGES = LEVELS.float() / 255
LABELS = MODEL(IMAGES).argmax(1)


@pytest.mark.parametrize(
    "given",
    [LEVELS, LEVELS.permute(0, 2, 3, 1).contiguous().numpy(), IMAGES.numpy(), IMAGES.double()],
    ids=["levels", "pictures", "array", "double"],
)
def test_images_of_any_kind_become_float_images(given):
    assert as_images(given).equal(IMAGES)


def test_labels_of_another_order_of_bytes_are_read():
    assert as_whole(LABELS.numpy().astype(">i4"), "labels", 6).equal(LABELS)


def test_reversed_arrays_are_read():
    assert as_tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_another_type_is_shown_images_of_its_type(dtype):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)).to(dtype).eval()
    crafted = craft("fgsm(eps=60/255)", net, IMAGES, net(IMAGES.to(dtype)).argmax(1))

    assert (torch.float32, True) == (crafted.logits.dtype, bool(crafted.fallen.any()))


def test_images_that_do_not_suit_the_model_are_told_as_they_were_given():
    net = torch.nn.Conv2d(3, 4, 8)
    with pytest.raises(
        BadValueError, match=r"fails on images \[6, 1, 8, 8\]: .*channels"
    ) as caught:
        craft("fgsm", net, IMAGES[:, :1], LABELS)

    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_that_fails_later_keeps_its_own_error():
    calls = []

    def fails(images):
        calls.append(len(images))
        if len(calls) > 1:
            raise RuntimeError("broken")
        return MODEL(images)

    with pytest.raises(RuntimeError, match=r"^broken$"):
        craft("fgsm", fails, IMAGES, LABELS)
