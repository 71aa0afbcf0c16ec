"""A small clean data set, to be spoilt in one place."""

import pytest

from battery.workbench import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
