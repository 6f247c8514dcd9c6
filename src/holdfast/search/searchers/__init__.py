"""Who searches: one searcher a file, each registered under the name that people type."""

from holdfast.core.registry import import_siblings
from holdfast.search.searchers.base import SEARCHERS, Searcher, searcher

import_siblings(__name__)

__all__ = ["SEARCHERS", "Searcher", "searcher"]
