"""What people see of a run."""

import io
import re

from rich.console import Console

from panet.train.progress import TrainingDisplay


class Clock:
    """Tells the seconds it was set to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def display(terminal: bool) -> tuple[TrainingDisplay, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=150, color_system=None)
    return TrainingDisplay(console, 100, clock), stream, clock


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_at_the_end() -> None:
    shown, stream, clock = display(terminal=False)
    with shown:
        for step in range(1, 101):
            clock.seconds += 0.5
            shown.show_step(step, {"class": 1.0}, 0.01)
    steps = [int(step) for step in re.findall(r"^step (\d+)/100", stream.getvalue(), re.MULTILINE)]
    assert steps == [1, 21, 41, 61, 81, 100]


def test_a_line_tells_losses_rate_speed_and_remaining_time() -> None:
    shown, stream, clock = display(terminal=False)
    with shown:
        clock.seconds = 2.0
        # A resumed run: 21 steps were done before. One step in 2 s: the 78 that are left take 156 s.
        shown.show_step(22, {"class": 1.25, "mask": 0.5}, 0.01)
    line = "step 22/100  loss 1.750 (class 1.250 mask 0.500)  lr 1.00e-02  0.50 it/s  0:02:36 left\n"
    assert stream.getvalue() == line


def test_losses_are_smoothed() -> None:
    shown, stream, clock = display(terminal=False)
    with shown:
        for step, loss in enumerate((1.0, 2.0), start=1):
            clock.seconds += 11
            shown.show_step(step, {"class": loss}, 0.01)
    assert "loss 1.100 (class 1.100)" in stream.getvalue()


def test_the_time_of_an_evaluation_does_not_slow_the_steps() -> None:
    shown, stream, clock = display(terminal=False)
    with shown:
        with shown.evaluating(3) as count:
            clock.seconds = 1000
            count(3)
        clock.seconds = 1002
        shown.show_step(1, {"class": 1.0}, 0.01)
    assert "0.50 it/s" in stream.getvalue()


def test_a_clock_that_stands_still_does_no_harm() -> None:
    shown, stream, _ = display(terminal=False)
    with shown:
        shown.show_step(1, {"class": 1.0}, 0.01)
    assert "0:00:00 left" in stream.getvalue()


def test_on_a_terminal_there_is_a_bar_and_notes_stand_above_it() -> None:
    shown, stream, clock = display(terminal=True)
    with shown:
        clock.seconds = 1
        shown.show_step(1, {"class": 1.0}, 0.01)
        shown.note("careful [bold]")
    text = stream.getvalue()
    assert "1/100" in text
    assert "careful [bold]" in text
    assert "step 1/100" not in text
