"""From a recipe to the network and the images: what is taken, set apart, left out, refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.models import Preprocessing, load_model
from holdfast.training.checkpoint import save_tensors
from holdfast.training.preparing import prepare, starting_point
from holdfast.training.reading import override, recipe_of

COUNT = 60
X = np.random.default_rng(0).integers(0, 256, (COUNT, 9, 8, 3), dtype=np.uint8)
Y = np.arange(COUNT) % 3
NET = "small:cnn(width=2)"


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    return f"npz:{tmp_path}/set.npz"


@pytest.fixture
def photos(tmp_path):
    """Folder of 12 images in two classes, one of them broken; of two shapes."""
    for place in range(12):
        path = tmp_path / "photos" / f"class{place % 2}" / f"{place:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[place] if place % 3 else X[place][:8]).save(path)
        if place == 5:
            path.write_bytes(b"broken")
    return f"folder:{tmp_path}/photos"


def of(name, *overrides, **sections):
    body = {"data": {"name": name}, "model": {"name": NET}, **sections}
    return recipe_of(override(body, overrides))


def ready(*args, **sections):
    return prepare(of(*args, **sections), device="cpu")


def ids(examined):
    return examined.ids.tolist()


def state(classifier):
    return classifier.net.state_dict()


def test_a_share_is_set_apart_of_every_class(data):
    one = ready(data, "data.validation=0.2")
    learned, held = one.data.samples.tolist(), ids(one.validation)

    assert 12 == len(held) and 48 == len(learned)
    assert list(range(COUNT)) == sorted(learned + held)
    assert [4, 4, 4] == torch.bincount(one.validation.labels).tolist()
    assert Y[held].tolist() == one.validation.labels.tolist()


def test_the_images_set_apart_are_those_of_the_data_set(data):
    held = ready(data, "data.validation=0.2").validation
    expected = torch.from_numpy(X[ids(held)]).permute(0, 3, 1, 2) / 255

    torch.testing.assert_close(held.images, expected, atol=0, rtol=0)
    assert torch.float32 == held.images.dtype


def test_the_seed_changes_the_network_and_none_of_the_parts(data):
    one, other = ready(data, "data.n=30"), ready(data, "data.n=30", "seed=1")

    assert ids(one.validation) == ids(other.validation)
    assert one.data.samples.tolist() == other.data.samples.tolist()
    assert ids(one.train_part) == ids(other.train_part)
    assert one.fingerprint == other.fingerprint
    for first, second in zip(parameters(one.classifier), parameters(other.classifier), strict=True):
        assert first.ndim == 1 or not torch.equal(first, second)  # norms begin with ones and zeros


def test_so_many_images_are_learned_from_and_set_apart_together(data):
    one = ready(data, "data.n=30", "data.validation=0.2")

    assert (24, 6) == (len(one.data), len(one.validation.labels))
    assert not set(one.data.samples.tolist()) & set(ids(one.validation))
    assert 60 == len(ready(data, "data.n=999", "data.validation=null").data)


def test_without_validation_all_images_are_learned_from(data):
    one = ready(data, "data.validation=null")

    assert one.validation is None
    assert COUNT == len(one.data)


def test_so_many_are_measured(data):
    one = ready(data, "data.validation=0.5", "validate.n=7", "validate.train_n=5")

    assert 7 == len(one.validation.labels)
    assert 5 == len(one.train_part.labels)
    assert set(ids(one.train_part)) <= set(one.data.samples.tolist())
    assert Y[ids(one.train_part)].tolist() == one.train_part.labels.tolist()
    assert ready(data, "validate.train_n=0").train_part is None


def test_another_split_or_another_set_is_validated_on(data, tmp_path):
    np.savez(tmp_path / "other.npz", x=255 - X[:9], y=Y[:9])
    same = ready(data, "data.validation=test")
    other = ready(data, "data.validation=test", f"data.validation_name=npz:{tmp_path}/other.npz")

    assert COUNT == len(same.data) == len(same.validation.labels)
    assert 9 == len(other.validation.labels)
    torch.testing.assert_close(
        other.validation.images, 1 - same.validation.images[:9], atol=1e-6, rtol=0
    )


def test_a_set_of_other_classes_cannot_be_validated_on(data, tmp_path):
    np.savez(tmp_path / "other.npz", x=X, y=np.arange(COUNT) % 4)

    with pytest.raises(
        BadValueError,
        match=r"other.npz has 4 classes for validation, .* images have 3; name a set of the same",
    ):
        ready(data, "data.validation=test", f"data.validation_name=npz:{tmp_path}/other.npz")


def test_a_share_that_leaves_nothing_is_refused(data):
    with pytest.raises(BadValueError, match="leaves none for validation"):
        ready(data, "data.validation=0.001")


def test_size_and_normalization_are_the_recipes_and_go_into_the_folder(data, tmp_path):
    one = ready(
        data,
        "data.size=[6, 5]",
        "data.resize=squash",
        "model.mean=[0.4, 0.5, 0.6]",
        "model.std=[0.2, 0.3, 0.1]",
    )
    seen = Preprocessing(
        input_size=(6, 5), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1), resize="squash"
    )

    assert seen == one.classifier.preprocessing == one.classifier.card.preprocessing
    assert (6, 5) == one.data.size
    assert (3, 6, 5) == one.validation.images.shape[1:] == one.train_part.images.shape[1:]
    save_tensors(tmp_path / "last.safetensors", one.weights(one.classifier))
    (tmp_path / "model.json").write_text(one.saved("last.safetensors").text())
    again = load_model(str(tmp_path), device="cpu")
    assert seen == again.preprocessing
    images = one.validation.images
    with torch.no_grad():
        assert torch.equal(one.classifier(images), again(images))
        normal = (images - torch.tensor(seen.mean)[:, None, None]) / torch.tensor(seen.std)[
            :, None, None
        ]
        torch.testing.assert_close(one.classifier.net.eval()(normal), again(images))


def test_a_size_alone_cuts_the_middle(data):
    one = ready(data, "data.size=6").classifier.preprocessing

    assert ((6, 6), "short", ()) == (one.input_size, one.resize, one.mean)


def test_the_names_of_the_classes_are_kept(photos):
    one = ready(photos, "data.size=6", "data.validation=null").saved("best.safetensors")

    assert (2, ("class0", "class1"), NET) == (one.classes, one.class_names, one.name)


def test_a_network_of_a_fixed_size_is_built_for_the_size_asked_for(data):
    wanted = of(data, "data.size=32", "protocol.kind=scratch", "model.name=timm:test_vit")
    one = starting_point(wanted, 3, device="cpu")

    assert (32, 32) == one.preprocessing.input_size
    with torch.no_grad():
        assert (2, 3) == one(torch.zeros(2, 3, 32, 32)).shape
    again = starting_point(wanted, 3, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(parameters(one), parameters(again), strict=True))


def parameters(classifier):
    return list(classifier.net.parameters())


def test_images_that_cannot_be_read_are_counted_and_left_out(photos):
    one = ready(photos, "data.size=6", "data.validation=null")

    assert 11 == len(one.data) and 1 == len(one.data.broken)
    assert 1 == len(one.notes)
    assert "1 images cannot be read and are left out; the first is class1/05.png" in one.notes[0]


def test_a_validation_image_that_cannot_be_read_is_named(photos):
    one = ready(photos, "data.size=6", "data.validation=train")

    assert 11 == len(one.validation.labels)
    assert 4 == len(one.notes)  # with the doubt about so few
    assert "are those that are trained on" in one.notes[1]
    assert "validation image class1/05.png cannot be read: not a picture" in one.notes[2]


def test_images_of_different_shapes_need_a_size(photos):
    with pytest.raises(BadValueError, match=r"give data.size"):
        ready(photos, "data.validation=null")


def test_validation_images_of_different_shapes_need_a_size_too(photos, tmp_path):
    np.savez(tmp_path / "two.npz", x=X[:20], y=Y[:20] % 2)

    with pytest.raises(BadValueError, match=r"validation images of .* shapes; give data.size"):
        ready(f"npz:{tmp_path}/two.npz", "data.validation=test", f"data.validation_name={photos}")


def test_a_class_without_an_image_is_named(tmp_path):
    np.savez(tmp_path / "set.npz", x=X[:20], y=Y[:20] % 2)
    (tmp_path / "names.txt").write_text("cat\ndog\nowl\n")

    with pytest.raises(BadValueError, match="no training image of the class 'owl'; add some, take"):
        ready(
            f"npz:{tmp_path}/set.npz",
            f"data.labels={tmp_path}/names.txt",
            "data.validation=null",
        )


@pytest.fixture
def ten(tmp_path):
    """Weights of the network with ten classes."""
    net = load_model(NET, classes=10, init_seed=7, device="cpu").net
    save_tensors(tmp_path / "ten.safetensors", net.state_dict())
    return tmp_path / "ten.safetensors"


def test_weights_of_other_classes_start_all_but_the_last_layer(data, ten):
    one = ready(data, f"model.weights={ten}")
    before = load_model(NET, weights=ten, device="cpu").net.state_dict()
    own = one.classifier.net.state_dict()

    assert 3 == one.classifier.classes
    assert {"head.weight", "head.bias"} == set(one.classifier.card.fresh_keys)
    assert all(torch.equal(own[k], v) for k, v in before.items() if not k.startswith("head"))


@pytest.mark.parametrize("size", ["null", "40"])
def test_a_fresh_last_layer_is_drawn_as_torch_does_whatever_the_network_would(data, tmp_path, size):
    # This one draws a last layer of three classes by their number: up to 0.58, and not to 0.06.
    net = load_model("timm:test_efficientnet", classes=5, pretrained=False, device="cpu").net
    save_tensors(tmp_path / "five.safetensors", net.state_dict())
    wanted = of(
        data,
        f"model.weights={tmp_path}/five.safetensors",
        f"data.size={size}",
        "model.name=timm:test_efficientnet",
    )
    one, other = (starting_point(wanted, 3, device="cpu").net for _ in range(2))

    assert one.classifier.weight.abs().max() <= one.classifier.in_features**-0.5
    assert torch.equal(one.classifier.weight, other.classifier.weight)
    assert torch.equal(one.conv_stem.weight, net.conv_stem.weight)


def test_the_last_layer_is_fresh_though_it_would_fit_unless_all_is_wanted(tmp_path, data):
    net = load_model(NET, classes=3, init_seed=7, device="cpu").net
    save_tensors(tmp_path / "three.safetensors", net.state_dict())
    path = tmp_path / "three.safetensors"
    fresh = ready(data, f"model.weights={path}").classifier.net
    whole = ready(data, f"model.weights={path}", "model.part=all").classifier.net

    assert torch.equal(net.head.weight, whole.head.weight)
    assert not torch.equal(net.head.weight, fresh.head.weight)


def test_a_last_layer_that_does_not_fit_is_refused_with_what_to_do(data, ten):
    with pytest.raises(
        BadValueError,
        match=r"head.weight expected \[3, 8\], came \[10, 8\].*only the last layer.*'backbone'",
    ):
        ready(data, f"model.weights={ten}", "model.part=all")


def test_a_folder_of_a_training_is_a_start(data, ten, tmp_path):
    one = ready(data)
    folder = tmp_path / "run"
    folder.mkdir()
    save_tensors(folder / "best.safetensors", one.weights(one.classifier))
    (folder / "model.json").write_text(one.saved("best.safetensors").text())
    two = ready(data, f"model.name={folder}", "model.part=all", "seed=9")

    assert all(
        torch.equal(a, b)
        for a, b in zip(parameters(one.classifier), parameters(two.classifier), strict=True)
    )


def test_a_function_has_no_weights_to_train(data, tmp_path):
    (tmp_path / "mine.py").write_text("def net():\n    return lambda images: images.mean((2, 3))\n")

    with pytest.raises(BadValueError, match=r"mine.py:net is a function, and only a torch module"):
        ready(data, f"model.name={tmp_path}/mine.py:net")


def test_the_fingerprint_is_that_of_what_is_learned_from(data, tmp_path):
    np.savez(tmp_path / "other.npz", x=255 - X, y=Y)
    found = [
        ready(*args).fingerprint
        for args in (
            (data,),
            (data, "data.n=30"),
            (data, "data.validation=0.2"),
            (f"npz:{tmp_path}/other.npz",),
        )
    ]

    assert 4 == len(set(found))
    assert found[0] == ready(data, "train.epochs=3", "seed=5").fingerprint


@pytest.mark.parametrize("wrong", ["data.name=nothing", "model.name=timm:nothing"])
def test_what_is_not_there_is_an_error_of_ours(data, wrong):
    with pytest.raises(HoldfastError, match="nothing"):
        ready(data, wrong)


def test_pretraining_takes_the_last_layer_away_and_keeps_it(data, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for place in range(6):
        Image.fromarray(X[place]).save(folder / f"{place}.png")
    one = ready(f"images:{folder}", "train.objective=simclr", "data.validation=null")
    whole = load_model(NET, classes=2, device="cpu").net.state_dict()

    assert one.validation is one.train_part is None
    assert one.features == one.headless.dimension == 8
    assert set(whole) == set(one.weights(one.classifier))
    assert all(
        one.weights(one.classifier)[name].shape == value.shape for name, value in whole.items()
    )
    with torch.no_grad():
        assert (2, 8) == one.classifier.net(torch.zeros(2, 3, 9, 8)).shape
    assert 0 == ready(data).features
