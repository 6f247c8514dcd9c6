"""The only evaluation loop: model x data x perturbation -> records."""

from holdfast.measuring.api import Results, measure
from holdfast.measuring.loop import Run, Subject, measure_runs, open_subject, plan
from holdfast.measuring.options import Options, Progress
from holdfast.measuring.stream import DatasetStream, LoaderStream, TensorStream
from holdfast.measuring.view import View

__all__ = [
    "DatasetStream",
    "LoaderStream",
    "Options",
    "Progress",
    "Results",
    "Run",
    "Subject",
    "TensorStream",
    "View",
    "measure",
    "measure_runs",
    "open_subject",
    "plan",
]
