"""Recorded scores: one reader a published format, one table for all of them."""

from holdfast.search.tables.fetching import Fetched, fetch
from holdfast.search.tables.formats import READERS, Reader
from holdfast.search.tables.loading import known_tables, open_table, write_parquet
from holdfast.search.tables.table import BenchmarkTable, Card, Column

__all__ = [
    "READERS",
    "BenchmarkTable",
    "Card",
    "Column",
    "Fetched",
    "Reader",
    "fetch",
    "known_tables",
    "open_table",
    "write_parquet",
]
