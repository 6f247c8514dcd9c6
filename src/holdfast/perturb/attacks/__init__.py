"""Attacks, one a file; importing this package registers all of them."""

from holdfast.core.registry import import_siblings
from holdfast.perturb.attacks.base import ATTACKS, Attack

__all__ = ["ATTACKS", "Attack"]

import_siblings(__name__)
