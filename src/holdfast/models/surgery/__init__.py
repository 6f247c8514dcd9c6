"""Changes of a finished network that may make it hold better: `MODEL + CHANGE`.

One change a file; each is a frozen dataclass, registered by the name that people type.
"""

from holdfast.core.registry import import_siblings
from holdfast.models.surgery.base import CHANGES, Change, parse_changes

import_siblings(__name__)

__all__ = ["CHANGES", "Change", "parse_changes"]
