"""Which architecture: spaces, tables of recorded scores, objectives, searchers and proxies."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.search.api import Found, search
    from holdfast.search.searchers.base import searcher
    from holdfast.search.spaces import space_of
    from holdfast.search.tables import open_table

__all__ = ["Found", "open_table", "search", "searcher", "space_of"]

# A space needs neither a table nor torch, and a table no searcher.
_WHERE = {
    "Found": "holdfast.search.api",
    "open_table": "holdfast.search.tables",
    "search": "holdfast.search.api",
    "searcher": "holdfast.search.searchers",
    "space_of": "holdfast.search.spaces",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'holdfast.search' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
