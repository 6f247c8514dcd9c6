"""Where to search: one space a file, each registered under the name that people type."""

from holdfast.core.registry import import_siblings
from holdfast.search.spaces.base import SPACES, Encoding, Graph, Space, space_of

import_siblings(__name__)

__all__ = ["SPACES", "Encoding", "Graph", "Space", "space_of"]
