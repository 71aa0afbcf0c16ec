"""Seconds side by side: candidates take turns, so that what else the machine does hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from panet.errors import ConfigError

__all__ = ["CLOCKS", "conv_rate", "linear_rate", "ratio", "take_turns", "timed"]

CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds that passed; or seconds that this process computed for, which with one thread no other process disturbs."""


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Give what runs something and tells the seconds it took."""

    def run_timed() -> float:
        start = clock()
        run()
        return clock() - start

    return run_timed


def take_turns(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every candidate once for nothing, then in turns; give the seconds that it told each time.

    Raises:
        ConfigError: the number of rounds is below 1.
    """
    if rounds < 1:
        raise ConfigError(f"rounds: {rounds}: expected at least 1")
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            seconds[name].append(run())
    return seconds


def ratio(seconds: list[float], others: list[float]) -> float:
    """Give the median over rounds of one candidate's seconds by another's of the same round."""
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def conv_rate(dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter, rounds: int = 5) -> float:
    """Measure what this machine reaches in the conv that PANet mostly is: 3 x 3, 256 to 256, GFLOP/s, channels last."""
    height, width, channels = 100, 168, 256
    conv = nn.Conv2d(channels, channels, 3, padding=1, dtype=dtype)
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    x = torch.randn(1, height, width, channels).to(dtype).permute(0, 3, 1, 2)
    return _rate(conv, x, 2 * 9 * channels**2 * height * width, clock, rounds)


def linear_rate(dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter, rounds: int = 5) -> float:
    """Measure what this machine reaches in a matrix product, GFLOP/s: 1000 RoIs of 7 x 7 x 256 to 1024."""
    rows, inputs, outputs = 1000, 12544, 1024
    linear = nn.Linear(inputs, outputs).to(dtype)
    return _rate(linear, torch.randn(rows, inputs).to(dtype), 2 * rows * inputs * outputs, clock, rounds)


def _rate(layer: nn.Module, x: torch.Tensor, flops: int, clock: Callable[[], float], rounds: int) -> float:
    with torch.inference_mode():
        seconds = take_turns({"": timed(lambda: layer(x), clock)}, rounds)[""]
    return flops / 1e9 / statistics.median(seconds)
