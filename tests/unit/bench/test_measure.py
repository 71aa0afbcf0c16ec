"""Turns, ratios and rates."""

import itertools

import pytest
import torch

from panet.bench.measure import conv_rate, linear_rate, ratio, take_turns, timed
from panet.errors import ConfigError


def test_candidates_take_turns_after_one_run_for_nothing() -> None:
    order: list[str] = []
    ticks = itertools.count()
    candidates = {name: timed(lambda name=name: order.append(name), lambda: float(next(ticks))) for name in "ab"}
    seconds = take_turns(candidates, 2)
    assert "".join(order) == "ababab"
    assert seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    assert ratio([1.0, 10.0, 3.0], [2.0, 10.0, 1.0]) == 1.0  # of 0.5, 1 and 3; the medians' own would be 1.5


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ConfigError, match="rounds: 0: expected at least 1"):
        take_turns({}, 0)


def test_rates_are_operations_by_seconds() -> None:
    ticks = itertools.count(step=2)
    # 2 x 9 x 256 x 256 x 100 x 168 operations, and 2 x 1000 x 12544 x 1024, in 2 seconds each.
    assert conv_rate(torch.float32, lambda: float(next(ticks)), rounds=1) == pytest.approx(9.909, abs=1e-3)
    assert linear_rate(torch.float32, lambda: float(next(ticks)), rounds=1) == pytest.approx(12.845, abs=1e-3)
