"""Faces of other libraries over this one: old scripts change one import.

`AutoAttack` is that of fra31/auto-attack, `benchmark` that of RobustBench, and the module
`holdfast.compat.torchattacks` has the attacks most used from torchattacks. Names, arguments and
what comes back are theirs; the attacks and the loop are ours. Where that shows, a docstring
says so.
"""

from holdfast.compat.autoattack import AutoAttack
from holdfast.compat.robustbench import benchmark

__all__ = ["AutoAttack", "benchmark"]
