"""The page of explanations; see `holdfast.records.explanations`."""

from holdfast.report.explain.page import write_explanation_page

__all__ = ["write_explanation_page"]
