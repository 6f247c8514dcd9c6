"""Self-supervised objectives, one a file; the folder indexes itself.

They are objectives like all others: `train.objective=barlow_twins`.
"""

from holdfast.core.registry import import_siblings
from holdfast.training.objectives import OBJECTIVES
from holdfast.training.pretrain.base import SelfSupervised
from holdfast.training.pretrain.headless import Headless

import_siblings(__name__)

__all__ = ["OBJECTIVES", "Headless", "SelfSupervised"]
