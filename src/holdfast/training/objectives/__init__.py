"""What training minimizes, one objective a file; the folder indexes itself."""

from holdfast.core.registry import import_siblings
from holdfast.training.objectives.base import OBJECTIVES, Objective, parse_objective

import_siblings(__name__)

__all__ = ["OBJECTIVES", "Objective", "parse_objective"]
