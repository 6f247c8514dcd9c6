"""Pages of one training and of several side by side; see `holdfast.records.trainings`."""

from holdfast.report.training.comparison import write_comparison_page
from holdfast.report.training.page import write_training_page

__all__ = ["write_comparison_page", "write_training_page"]
