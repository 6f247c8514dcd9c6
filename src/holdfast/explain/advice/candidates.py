"""Changes that are tried on every model; strengths are a grid, and tuned to none."""

from __future__ import annotations

from holdfast.models import Classifier
from holdfast.models.surgery import Change, parse_changes

_ALWAYS = (
    "average_pooling(where=all)",
    "average_pooling(where=stem)",
    "blurred_downsampling(taps=3)",
    "larger_stem(add=2, start=embed)",
    "larger_stem(add=2, start=blurred)",
    "low_pass(std=0.4)",
    "low_pass(std=0.5)",
    "low_pass(std=0.6)",
    "low_pass(std=0.8)",
)
_LOWER = (6 / 7, 5 / 7)  # of the input size: 192 and 160 of 224
_GRID = 32  # pixels; many networks reduce by this factor
_OTHERS = {  # normalizations in use, by mean and deviation
    (0.5, 0.5): "normalization(mean=0.5, std=0.5)",
    (0.45, 0.225): "normalization(mean=0.45, std=0.225)",
}


def default_changes(classifier: Classifier) -> list[Change]:
    """Changes to try on a classifier, those that do not apply among them."""
    texts = list(_ALWAYS)
    size = classifier.input_size
    if size is not None:
        sizes = {_GRID * max(1, round(size[0] * part / _GRID)) for part in _LOWER}
        if size[0] < 2 * _GRID:  # of small pictures a grid of 32 leaves nothing
            sizes = {round(size[0] * part) for part in _LOWER}
        texts += [f"resolution(size={one})" for one in sorted(sizes - {size[0]}, reverse=True)]
    wanted = classifier.preprocessing
    now = (wanted.mean[0], wanted.std[0]) if wanted.mean else (0.0, 1.0)
    inception = _OTHERS[0.5, 0.5]
    texts.append(_OTHERS[0.45, 0.225] if now == (0.5, 0.5) else inception)
    return parse_changes(texts)


def view_of(change: Change, view: str) -> str:
    """At which size noise is added: a lower resolution helps against what came before it."""
    return "native" if change.name == "resolution" else view
