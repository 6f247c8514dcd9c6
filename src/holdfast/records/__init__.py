"""What is kept: measurements, sample outcomes, the store."""

from holdfast.records.flags import FLAGS
from holdfast.records.schema import (
    BROKEN_COLUMNS,
    MEASUREMENT_COLUMNS,
    PICTURE_COLUMNS,
    SAMPLE_COLUMNS,
    Measurement,
    RunSpec,
    measurement_frame,
)
from holdfast.records.store import RunBuilder, Store, run_id

__all__ = [
    "BROKEN_COLUMNS",
    "FLAGS",
    "MEASUREMENT_COLUMNS",
    "PICTURE_COLUMNS",
    "SAMPLE_COLUMNS",
    "Measurement",
    "RunBuilder",
    "RunSpec",
    "Store",
    "measurement_frame",
    "run_id",
]
