"""From a recipe to what is trained: the network with its first weights, and the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from holdfast.core.errors import BadValueError
from holdfast.core.identity import digest_json
from holdfast.data import Broken, Dataset, OpenClasses, choose, open_dataset
from holdfast.models import Classifier, Preprocessing, digest_state, head_layers, load_model
from holdfast.models.loading import keyed_initialization
from holdfast.models.saved import SavedModel, is_saved, read_saved
from holdfast.models.sources import split_changes
from holdfast.training.augment.pipeline import Pipeline
from holdfast.training.batches import TrainingData
from holdfast.training.doubts import doubts
from holdfast.training.holding import holdout
from holdfast.training.pretrain import Headless, SelfSupervised
from holdfast.training.recipe import Recipe
from holdfast.training.validation import Examined


@dataclass(frozen=True)
class Prepared:
    """All that a trainer needs.

    Attributes:
        recipe: By which it was prepared.
        classifier: With the weights to start from.
        data: Training images.
        train_part: Some of them, to measure accuracy on; None where none are wanted.
        validation: Images held out, as many as are measured; None where there are none.
        fingerprint: Of the training images.
        start_digest: Of the first weights, and of the user's file that built the network.
        notes: What a person should know.
        headless: Holds the last layer of a network that is pretrained without it.
    """

    recipe: Recipe
    classifier: Classifier
    data: TrainingData
    train_part: Examined | None
    validation: Examined | None
    fingerprint: str
    start_digest: str
    notes: tuple[str, ...]
    headless: Headless | None = None

    def weights(self, classifier: Classifier) -> dict[str, torch.Tensor]:
        """Weights that are kept, by the names of the whole network.

        Args:
            classifier: The one prepared, or its averaged twin.
        """
        net = cast("torch.nn.Module", classifier.net)
        return dict(net.state_dict()) if self.headless is None else self.headless.whole_state(net)

    @property
    def features(self) -> int:
        """Features of a network without its last layer; 0 where it has one."""
        return 0 if self.headless is None else self.headless.dimension

    def saved(self, weights: str) -> SavedModel:
        """What says how to build the network again."""
        return SavedModel(
            name=self.recipe.model.name,
            classes=self.classifier.classes,
            class_names=self.data.classes,
            preprocessing=self.classifier.preprocessing,
            weights=weights,
        )


def prepare(recipe: Recipe, *, device: str = "auto", workers: int = 0) -> Prepared:
    """Open the images, build the network, and set images apart for validation.

    Raises:
        HoldfastError: Data, model or augmentations that cannot be used, or do not fit together.
    """
    dataset = open_dataset(recipe.data.name, split=recipe.data.split, labels=recipe.data.labels)
    pretrains = isinstance(recipe.objective, SelfSupervised)
    # Without labels there may be one class, and no network has fewer than two outputs.
    classes = max(2, len(dataset.classes)) if pretrains else len(dataset.classes)
    _check_patience(recipe, pretrains=pretrains)
    if classes < 2:
        raise BadValueError(
            f"{dataset.name} has one class, {dataset.classes[0]!r}, and a classifier tells two or "
            "more apart; add images of another, or pretrain without labels (train.objective=simclr)"
        )
    # A pretrained network's outputs are not looked at: one of a file is taken as it is.
    asked = None if pretrains and ".py" in recipe.model.name else classes
    classifier = starting_point(recipe, asked, device=device)
    fresh = has_fresh_head(classifier) and not pretrains
    headless = Headless(cast("torch.nn.Module", classifier.net)) if pretrains else None
    chosen = choose(len(dataset), recipe.data.n or len(dataset))
    # Without labels nothing is validated, and every image is learned from.
    learned, held = (chosen, None) if pretrains else _divided(recipe, dataset, chosen)
    data = TrainingData(
        dataset,
        learned,
        Pipeline(recipe.augment),
        classifier.preprocessing,
        seed=recipe.seed,
        workers=workers,
        views=recipe.objective.make_views if isinstance(recipe.objective, SelfSupervised) else None,
    )
    if not pretrains:
        _check_untouched(classifier, data)
    notes = _notes(recipe, dataset, data)
    if fresh:
        notes.append("the last layer starts afresh; model.part=all keeps that of the weights")
    validation = None if pretrains else _validation(recipe, dataset, held, classifier, notes)
    notes += doubts(recipe, None if validation is None else len(validation.labels))
    return Prepared(
        recipe=recipe,
        classifier=classifier,
        data=data,
        train_part=None if pretrains else _train_part(recipe, data),
        validation=validation,
        start_digest=_start_digest(classifier),
        fingerprint=digest_json([dataset.fingerprint(), learned]),
        notes=tuple(notes),
        headless=headless,
    )


def _start_digest(classifier: Classifier) -> str:
    state = cast("torch.nn.Module", classifier.net).state_dict()
    return digest_json([digest_state(state), classifier.source_digest])


def starting_point(recipe: Recipe, classes: int | None, *, device: str = "auto") -> Classifier:
    """Network of a recipe as it is before the first step.

    Raises:
        HoldfastError: No such model, weights that do not fit, or a network that is no module.
    """
    classifier = _loaded(recipe, classes, device, None)
    if not isinstance(classifier.net, torch.nn.Module):
        raise BadValueError(
            f"{recipe.model.name} is a function, and only a torch module has weights to train; "
            "return a module"
        )
    if isinstance(classifier.net, torch.jit.ScriptModule):
        raise BadValueError(
            f"{recipe.model.name} is compiled by torch.jit, and what learns cannot be chosen in "
            "it; return the module before it is compiled"
        )
    base, changes = split_changes(recipe.model.name)
    own = classifier.preprocessing
    if changes:
        # What a recipe asks for is put in before a change, which may have another normalization.
        own = load_model(base, classes=classes, device=device, pretrained=False).preprocessing
    preprocessing = _preprocessing(recipe, own)
    if preprocessing != own:
        # Once more: a network whose size is fixed is built for the size asked for.
        classifier = _loaded(recipe, classes, device, preprocessing)
    if has_fresh_head(classifier):
        _reset_heads(cast("torch.nn.Module", classifier.net), recipe)
        classifier.probe()  # anew: it holds what the first head gave
    return classifier


def _check_patience(recipe: Recipe, *, pretrains: bool) -> None:
    """Refuse to wait for a score that nothing gives."""
    patience = recipe.validate_with.patience
    if patience is not None and (recipe.data.validation is None or pretrains):
        raise BadValueError(
            f"validate.patience={patience} waits for a better score on validation images, and "
            "there are none; give data.validation=0.1, or leave patience out"
        )


def _check_untouched(classifier: Classifier, data: TrainingData) -> None:
    """Refuse a network that writes into its images, which are used again."""
    images, _ = data.plain(range(2))
    images = images.to(classifier.device)
    before = images.clone()
    with torch.no_grad():
        classifier(images)
    if not torch.equal(images, before):
        raise BadValueError(
            f"{classifier.name} changes the images it is given in place, and they are used again; "
            "let its first operation make new ones, as in x = x * 2 instead of x *= 2"
        )


def _notes(recipe: Recipe, dataset: Dataset, data: TrainingData) -> list[str]:
    """What is other than the recipe says."""
    notes = []
    if data.broken:
        first = data.broken[0]
        notes.append(
            f"{len(data.broken)} images cannot be read and are left out; the first is "
            f"{first.name}: {first.reason}"
        )
    if recipe.data.n is not None and recipe.data.n > len(dataset):
        notes.append(
            f"data.n={recipe.data.n:,} is more than {dataset.name} has: all of its "
            f"{len(dataset):,} images are taken"
        )
    return notes


def has_fresh_head(classifier: Classifier) -> bool:
    """Whether weights were loaded, and all but those of the last layer."""
    fresh = set(classifier.fresh_keys)
    return bool(fresh) and fresh != set(cast("torch.nn.Module", classifier.net).state_dict())


def _loaded(
    recipe: Recipe, classes: int | None, device: str, preprocessing: Preprocessing | None
) -> Classifier:
    return load_model(
        recipe.model.name,
        weights=recipe.model.weights,
        weights_part=recipe.model.part,
        classes=classes,
        device=device,
        preprocessing=preprocessing,
        pretrained=recipe.model.pretrained,
        init_seed=recipe.seed,
    )


def _reset_heads(net: torch.nn.Module, recipe: Recipe) -> None:
    """Draw the last linear layers as torch does.

    An architecture's own rule may ask for weights that suit a thousand classes: with a few, the
    first logits are so large that fine-tuning begins by undoing them.
    """
    with keyed_initialization(f"{recipe.model.name} head", recipe.seed):
        for layer in map(net.get_submodule, head_layers(net)):
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()


def _preprocessing(recipe: Recipe, own: Preprocessing) -> Preprocessing:
    size = recipe.data.size
    if size is not None:
        own = own.resized_to(size, recipe.data.resize or "short")
    elif recipe.data.resize is not None and own.input_size is not None:
        own = own.resized_to(own.input_size, recipe.data.resize)
    if recipe.model.mean is not None and recipe.model.std is not None:
        return replace(own, mean=recipe.model.mean, std=recipe.model.std)
    folder = None if recipe.model.weights is None else Path(recipe.model.weights).parent
    if folder is not None and is_saved(str(folder)):
        # Weights of an earlier training go on with the pixels that they have learned from.
        trained = read_saved(folder).preprocessing
        if trained.channels == own.channels:
            own = replace(own, mean=trained.mean, std=trained.std)
    return own


def _divided(
    recipe: Recipe, dataset: Dataset, chosen: list[int]
) -> tuple[list[int], list[int] | None]:
    """Positions to learn from, and those of them that are held out."""
    share = recipe.data.validation
    if not isinstance(share, float):
        return chosen, None
    labels = _labels(dataset, chosen)
    learned, held = holdout(labels, share)
    return [chosen[i] for i in learned], [chosen[i] for i in held]


def _labels(dataset: Dataset, chosen: Sequence[int]) -> np.ndarray:
    """Class of each image; -1 of one that cannot be read."""
    known = getattr(dataset, "labels", None)
    if known is not None:
        return np.asarray(known)[chosen]
    read = dataset.read(chosen)
    return np.array([-1 if isinstance(one, Broken) else one.label for one in read])


def _train_part(recipe: Recipe, data: TrainingData) -> Examined | None:
    if not recipe.validate_with.train_n:
        return None
    rows = choose(len(data), recipe.validate_with.train_n)
    images, labels = data.plain(rows)
    return Examined(images, labels, data.samples[rows])


def _validation(
    recipe: Recipe,
    dataset: Dataset,
    held: list[int] | None,
    classifier: Classifier,
    notes: list[str],
) -> Examined | None:
    wanted = recipe.data.validation
    if wanted is None:
        return None
    if held is None:
        name = recipe.data.validation_name or recipe.data.name
        trained = dataset
        dataset = open_dataset(name, split=str(wanted), labels=recipe.data.labels)
        _check_classes(trained.classes, dataset)
        notes += _same_images(trained, dataset, recipe)
        held = list(range(len(dataset)))
    ids = [held[place] for place in choose(len(held), recipe.validate_with.n)]
    images, labels, kept = [], [], []
    for sample in dataset.read(ids):
        if isinstance(sample, Broken):
            notes.append(f"validation image {sample.name} cannot be read: {sample.reason}")
            continue
        images.append(torch.from_numpy(np.array(classifier.prepare(sample.image))))
        labels.append(sample.label)
        kept.append(sample.id)
    if len({image.shape for image in images}) != 1:
        raise BadValueError(
            f"the validation images of {dataset.name} have different shapes; give data.size"
            if images
            else f"no validation image of {dataset.name} can be read"
        )
    stack = torch.stack(images).permute(0, 3, 1, 2).float().div_(255)
    return Examined(stack, torch.tensor(labels), torch.tensor(kept))


def _same_images(trained: Dataset, dataset: Dataset, recipe: Recipe) -> list[str]:
    """Say that the images validated on are those that are trained on."""
    # The length first: a fingerprint reads all files.
    if len(trained) != len(dataset) or trained.fingerprint() != dataset.fingerprint():
        return []
    told = (
        f"the validation images, data.validation={recipe.data.validation} of {dataset.name}, are "
        "those that are trained on, so that their accuracy says nothing of others; "
        "data.validation=0.1 holds some out"
    )
    return [told]


def _check_classes(learned: tuple[str, ...], dataset: Dataset) -> None:
    """Refuse validation images of other classes, or of the same in another order."""
    given = dataset.classes
    if len(given) != len(learned):
        raise BadValueError(
            f"{dataset.name} has {len(given)} classes for validation, and the training images "
            f"have {len(learned)}; name a set of the same classes"
        )
    nameless = isinstance(given, OpenClasses) or isinstance(learned, OpenClasses)
    odd = [place for place, pair in enumerate(zip(learned, given, strict=True)) if len({*pair}) > 1]
    if odd and not nameless:
        raise BadValueError(
            f"class {odd[0]} is {learned[odd[0]]!r} in the training images and "
            f"{given[odd[0]]!r} in {dataset.name}; name a set of the same classes"
        )
