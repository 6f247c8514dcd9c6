"""What is kept: measurements, sample outcomes, the store."""

from holdfast.records._files import write_whole
from holdfast.records.flags import FLAGS
from holdfast.records.robustbench import ModelInfo, read_model_info, write_model_info
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
    "ModelInfo",
    "RunBuilder",
    "RunSpec",
    "Store",
    "measurement_frame",
    "read_model_info",
    "run_id",
    "write_model_info",
    "write_whole",
]
