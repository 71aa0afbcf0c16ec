"""A candidate answers from a process of its own; what goes wrong there is told here."""

import os
from collections.abc import Callable, Mapping

import pytest
import torch

from panet.bench.process import Found, Process
from panet.errors import ConfigError, PANetError

FOUND = Found([1], [0.5], [[0.0, 0.0, 2.0, 3.0]])


class Sleeper:
    """Does nothing, and tells who does it."""

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ConfigError(f"size {size}: below 0")
        self._memory = bytearray(size)

    def run(self) -> None:
        if not self._memory:
            os._exit(7)

    def stages(self, clock: Callable[[], float]) -> Mapping[str, float]:
        return {"process": float(os.getpid()), "threads": float(torch.get_num_threads()), "now": clock()}

    def found(self) -> Found:
        return FOUND


def mark() -> None:
    os.environ["PANET_TEST_MARK"] = "1"


def start(size: int) -> Process:
    return Process(Sleeper, size, before=mark, threads=1, clock="wall")


def test_it_runs_elsewhere_and_tells_seconds_stages_memory_and_what_was_found() -> None:
    with start(300 * 2**20) as process:
        assert 0 <= process() < 60
        stages = process.stages()
        assert stages["process"] != os.getpid()
        assert stages["threads"] == 1
        assert 300 * 2**20 < process.peak() < 20 * 2**30
        assert process.found() == FOUND
    assert "PANET_TEST_MARK" not in os.environ


def test_an_error_in_making_it_comes_back() -> None:
    with pytest.raises(ConfigError, match="size -1: below 0"):
        start(-1)


def test_a_process_that_dies_is_told() -> None:
    with start(0) as process, pytest.raises(PANetError, match=r"ended with code 7.*--only"):
        process()
