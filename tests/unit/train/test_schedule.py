"""The learning rate's factor at the steps where it turns."""

import pytest

from panet.train.schedule import Schedule


def test_the_warm_up_rises_in_a_line_and_the_milestones_divide_by_ten() -> None:
    schedule = Schedule("step", 90, warmup_steps=10, warmup_factor=0.5, milestones=(2 / 3, 8 / 9))
    factors = {step: schedule(step) for step in (1, 6, 11, 60, 61, 80, 81, 90)}
    expected = {1: 0.5, 6: 0.75, 11: 1, 60: 1, 61: 0.1, 80: 0.1, 81: 0.01, 90: 0.01}
    assert factors == pytest.approx(expected)


def test_the_cosine_falls_from_one_after_the_warm_up_to_nearly_nothing() -> None:
    schedule = Schedule("cosine", 110, warmup_steps=10, warmup_factor=0.0)
    assert schedule(1) == 0
    assert schedule(11) == 1
    assert schedule(61) == pytest.approx(0.5)
    assert 0 < schedule(110) < 1e-3


def test_without_a_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert Schedule("cosine", 10)(1) == Schedule("step", 10)(1) == 1


def test_a_run_shorter_than_its_warm_up_stays_in_it() -> None:
    schedule = Schedule("cosine", 5, warmup_steps=10, warmup_factor=0.0)
    assert schedule(5) == pytest.approx(0.4)
