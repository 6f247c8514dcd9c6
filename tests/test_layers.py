"""Who may import whom; the table stands in CONTRIBUTING."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from holdfast.records import FLAGS
from holdfast.records.trainings import TRAINING_FLAGS

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "holdfast"
_ABOVE_CORE = {"core"}
_PARTS = {"core", "records", "data", "models", "metrics", "perturb"}
MAY_IMPORT = {
    "core": set(),
    "records": _ABOVE_CORE,
    "data": _ABOVE_CORE,
    "models": _ABOVE_CORE,
    "metrics": _ABOVE_CORE,
    "perturb": _ABOVE_CORE,
    "measuring": _PARTS,
    "compat": _PARTS | {"measuring"},
    "training": _PARTS | {"measuring"},
    "search": _PARTS | {"measuring"},
    "explain": _PARTS | {"measuring", "training", "search"},
    "study": _PARTS | {"measuring", "training", "search", "explain"},
    "report": {"core", "records", "metrics"},
    "cli": _PARTS | {"measuring", "compat", "training", "search", "explain", "study", "report"},
}
MAY_NOT_USE = {
    "core": {"torchvision", "timm", "polars"},
    "records": {"torch", "torchvision", "timm"},
    "metrics": {"torch", "torchvision", "timm"},
    "report": {"torch", "torchvision", "timm"},
}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_a_layer_imports_only_those_below_it(layer):
    allowed = MAY_IMPORT[layer] | {layer}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / layer).rglob("*.py")
        for name in imports(path)
        if name.startswith("holdfast.") and name.split(".")[1] not in allowed
    ]

    assert [] == wrong


@pytest.mark.parametrize("layer", sorted(MAY_NOT_USE))
def test_a_layer_keeps_away_from_heavy_libraries(layer):
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / layer).rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in MAY_NOT_USE[layer]
    ]

    assert [] == wrong


def test_every_folder_has_a_layer():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert set(MAY_IMPORT) == folders


def test_torch_enters_core_in_randomness_only():
    users = {
        path.name
        for path in (PACKAGE / "core").glob("*.py")
        if any(name.split(".")[0] == "torch" for name in imports(path))
    }

    assert {"randomness.py"} == users


def test_every_flag_raised_is_explained():
    raises = re.compile(r'(?:flags\.add\(|flags \|= \{|frozenset\(\{)"(\w+)"')
    raised = {flag for path in PACKAGE.rglob("*.py") for flag in raises.findall(path.read_text())}
    guide = (PACKAGE.parents[1] / "docs" / "guide.md").read_text()

    assert len(raised) >= 6
    explained = {**FLAGS, **TRAINING_FLAGS}
    assert raised <= set(explained)
    assert [] == [flag for flag in explained if f"`{flag}`" not in guide]
