"""Readers of published formats, one a file, each registered under the name of its table."""

from holdfast.core.registry import import_siblings
from holdfast.search.tables.readers import READERS, Reader

import_siblings(__name__)

__all__ = ["READERS", "Reader"]
