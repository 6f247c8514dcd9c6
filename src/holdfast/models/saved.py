"""Networks that `holdfast train` wrote: a folder is a model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import BadValueError, MissingError
from holdfast.models.preprocessing import Preprocessing

MODEL_FILE = "model.json"
_FIELDS = {"name", "classes", "class_names", "preprocessing", "weights"}


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What is needed to build a trained network again.

    Attributes:
        name: Of the architecture, as `load_model` takes it.
        classes: Outputs.
        class_names: In the order of the outputs.
        preprocessing: That it was trained with.
        weights: File beside `model.json`.
    """

    name: str
    classes: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    weights: str

    def text(self) -> str:
        """What `model.json` holds."""
        return json.dumps(asdict(self), indent=1) + "\n"


def is_saved(text: str) -> bool:
    """Whether `text` is a folder that holds a trained network."""
    return Path(text).expanduser().joinpath(MODEL_FILE).is_file()


def read_saved(folder: Path) -> SavedModel:
    """Read `model.json` of a folder.

    Raises:
        MissingError: No such file, or its weights are gone.
        BadValueError: It is not what training writes.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise MissingError(f"no {MODEL_FILE} in {folder}: `holdfast train run` writes it")
    try:
        body = _fields(json.loads(path.read_text(encoding="utf-8")))
        shape: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in body["preprocessing"].items()
        }
        saved = SavedModel(
            name=str(body["name"]),
            classes=int(body["classes"]),
            class_names=tuple(body["class_names"]),
            preprocessing=Preprocessing(**shape),
            weights=str(body["weights"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadValueError(f"{path} is not what `holdfast train run` writes: {error}") from error
    if not (folder / saved.weights).is_file():
        raise MissingError(f"{folder} lacks its weights {saved.weights}; train again, or resume")
    return saved


def _fields(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or set(body) != _FIELDS:
        raise ValueError(f"expected the fields {', '.join(sorted(_FIELDS))}")
    return body
