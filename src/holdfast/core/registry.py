"""Name to part: the only way a command line finds one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from holdfast.core.errors import unknown_name

T = TypeVar("T")
P = TypeVar("P")


class Registry(Generic[T]):
    """Named parts of one kind; a second owner of a name is refused."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Give `name` to the decorated part.

        Raises:
            ValueError: The name has an owner already.
        """

        def keep(part: T) -> T:
            if name in self._parts:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._parts[name] = part
            return part

        return keep

    def named(self, name: str) -> Callable[[P], P]:
        """Register the decorated part, and let it know its name: `part.name`.

        Raises:
            ValueError: The name has an owner already.
        """

        def keep(part: P) -> P:
            part.name = name  # type: ignore[attr-defined]  # each kind of part declares it
            self.register(name)(part)  # type: ignore[arg-type]  # a T, as all it is used for
            return part

        return keep

    def __getitem__(self, name: str) -> T:
        try:
            return self._parts[name]
        except KeyError:
            raise unknown_name(self.kind, name, self._parts) from None

    def name_of(self, part: T) -> str:
        """Name under which `part` is registered; the first of several.

        Raises:
            KeyError: It is not.
        """
        for name, known in self._parts.items():
            if known is part:
                return name
        raise KeyError(f"{part!r} is no {self.kind}")

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        return len(self._parts)


def import_siblings(package: str) -> None:
    """Import each public module of `package`, so that its parts register themselves."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")
