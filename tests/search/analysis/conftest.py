"""The published tables of NAS-Bench-201 cells."""

from __future__ import annotations

import pytest

from holdfast.search.tables.loading import open_table


@pytest.fixture(scope="session")
def joined(shared):
    return open_table(str(shared / "data/nas/nb201_cifar10.csv.gz"))


@pytest.fixture(scope="session")
def robustness(shared):
    return open_table(str(shared / "data/nas/robustness-dataset-cifar10"))
