"""`FILE.py:FUNCTION`: a network that a person's own Python file builds."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from holdfast.core.errors import BadValueError, HoldfastError, MissingError, unknown_name
from holdfast.core.identity import digest_file
from holdfast.models.classifier import FOREIGN_ERRORS, Classifier
from holdfast.models.declared import declared_preprocessing
from holdfast.models.loading import Built, Request, keyed_initialization, load_weights
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import read_weights

_CLASS_ARGUMENTS = ("classes", "num_classes")


def split_file_spec(text: str) -> tuple[Path, str] | None:
    """Path and function of `FILE.py:FUNCTION`, None for any other text.

    A colon inside the path, as after a Windows drive, is not taken for the separator.
    """
    path, separator, function = text.rpartition(":")
    if separator and path.lower().endswith(".py"):
        return Path(path), function
    if text.lower().endswith(".py"):
        return Path(text), ""
    return None


def build(request: Request) -> Built:
    """Run the file, call the function, and take what it returns.

    The function returns a module, a `Classifier`, or a callable from images [B, C, H, W] in
    [0, 1] to logits [B, K]. A module may say what is to be done before it; see
    `declared_preprocessing`. The function is called with `classes` (or `num_classes`) where it
    has such a parameter and classes are asked for. The file's folder is on the import path
    meanwhile; what it imports from there is not part of its digest.

    Raises:
        MissingError: No such file.
        UnknownNameError: The file has no such function.
        BadValueError: The file or the function fails, or returns something else.
    """
    path, function = split_file_spec(request.name) or (Path(request.name), "")
    if not path.is_file():
        raise MissingError(f"no file {path} to take the model {request.spec} from")
    if not function:
        raise BadValueError(
            f"which function of {path} builds the model? write {path}:FUNCTION; "
            f"it has {', '.join(_functions(path)) or 'none'}"
        )
    digest = digest_file(path)
    with _importable(path.parent.resolve()), keyed_initialization(request.spec, request.init_seed):
        module = _executed(path, digest)
        made = _called(module, function, request)
    identity = f"file:{function}"
    net, preprocessing = _taken(made, request)
    fresh = () if request.weights is None else _load(net, request.weights, request)
    return Built(
        net=net,
        preprocessing=preprocessing,
        identity=identity,
        source_digest=digest,
        fresh_keys=fresh,
        flags=made.flags if isinstance(made, Classifier) else frozenset(),
    )


class _UncachedLoader(SourceFileLoader):
    """Compiles the file each time: a cached one may be older than its digest says."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("no cache is kept")


def _executed(path: Path, digest: str) -> ModuleType:
    name = f"holdfast_file_{digest[:16]}"
    loader = _UncachedLoader(name, str(path))
    module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        loader.exec_module(module)
    except HoldfastError:
        raise
    except FOREIGN_ERRORS as error:
        del sys.modules[name]
        raise BadValueError(f"{path} fails when it is run: {_said(error)}") from error
    return module


def _called(module: ModuleType, function: str, request: Request) -> Any:
    make = getattr(module, function, None)
    if make is None:
        known = [name for name, value in vars(module).items() if _public(name, value)]
        raise unknown_name(f"function in {module.__file__}", function, known)
    if not callable(make):
        raise BadValueError(
            f"{request.spec} is {_kind(make)}; expected a function that returns the model"
        )
    try:
        return make(**_arguments(make, request))
    except HoldfastError:
        raise
    except FOREIGN_ERRORS as error:
        raise BadValueError(f"{request.spec} fails when it is called: {_said(error)}") from error


def _arguments(make: Callable[..., Any], request: Request) -> dict[str, int]:
    try:
        parameters = inspect.signature(make).parameters
    except ValueError:  # some built-in callables have none
        return {}
    needed = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    arguments: dict[str, int] = {}
    if request.classes is not None:
        arguments = {n: request.classes for n in _CLASS_ARGUMENTS if n in parameters}
    lacking = [name for name in needed if name not in arguments]
    if lacking:
        raise BadValueError(
            f"{request.spec} needs {', '.join(lacking)}, but a model's function is called "
            "without arguments; give defaults, or write a function that fills them in"
        )
    return arguments


def _taken(made: Any, request: Request) -> tuple[Callable[[Tensor], Tensor], Preprocessing]:
    if isinstance(made, Classifier):
        return made.net, made.preprocessing
    if isinstance(made, type) or not callable(made):
        raise BadValueError(
            f"{request.spec} returns {_kind(made)}; expected a torch module, a Classifier, or "
            "a callable from images [B, C, H, W] in [0, 1] to logits [B, K]"
        )
    return made, declared_preprocessing(made, request.spec)


def _load(net: Callable[[Tensor], Tensor], weights: Path, request: Request) -> tuple[str, ...]:
    if not isinstance(net, nn.Module):
        raise BadValueError(
            f"{request.spec} returns {_kind(net)}, into which no weights can be loaded; "
            "return a torch module, or load them in the function"
        )
    net.eval()  # whoever asks for a file's weights in a fresh network has not forgotten the mode
    what = f"the weights in {weights}"
    return load_weights(net, read_weights(weights), part=request.part, what=what)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the file import its neighbors, as it could when run as a script; stay where we are."""
    entry, here = str(folder), Path.cwd()
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
        os.chdir(here)


def _functions(path: Path) -> list[str]:
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n.name for n in body if isinstance(n, kinds) and not n.name.startswith("_")]


def _public(name: str, value: object) -> bool:
    return callable(value) and not name.startswith("_")


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {error}"


def _kind(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return "None" if thing is None else f"an object of type {type(thing).__name__}"
