"""How the gradients of one batch come about, one way a file; the folder indexes itself."""

from holdfast.core.registry import import_siblings
from holdfast.training.steps.base import STEPS, Step, Work, parse_step

import_siblings(__name__)

__all__ = ["STEPS", "Step", "Work", "parse_step"]
