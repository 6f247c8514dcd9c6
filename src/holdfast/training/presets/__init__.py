"""Published settings by name, a group a file; the folder indexes itself."""

from holdfast.core.registry import import_siblings
from holdfast.training.presets.base import PRESETS, Preset, preset

import_siblings(__name__)

__all__ = ["PRESETS", "Preset", "preset"]
