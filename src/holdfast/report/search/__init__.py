"""Pages of a search and of a look at a table; see `holdfast.records.searches`."""

from holdfast.report.search.page import write_search_page
from holdfast.report.search.table_page import write_table_page

__all__ = ["write_search_page", "write_table_page"]
