"""What models are made of, computed from the operations that run; see `ANATOMY_COLUMNS`."""

from holdfast.explain.anatomy.catalogue import Progress, anatomies, anatomy_frame, timm_names
from holdfast.explain.anatomy.one import anatomy, failed_row, timm_anatomy
from holdfast.explain.anatomy.origin import Origin, family, origin
from holdfast.explain.anatomy.structure import Structure, structure

__all__ = [
    "Origin",
    "Progress",
    "Structure",
    "anatomies",
    "anatomy",
    "anatomy_frame",
    "failed_row",
    "family",
    "origin",
    "structure",
    "timm_anatomy",
    "timm_names",
]
