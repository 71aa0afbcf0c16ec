"""How a run is doing, for people: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

__all__ = ["TrainingDisplay"]

_SMOOTHING = 0.9
_SECONDS_BETWEEN_LINES = 10.0


class TrainingDisplay:
    """Step, smoothed losses, rate, speed and remaining time. Enter it to show a bar.

    Args:
        console: where it goes; without a terminal, lines are printed.
        num_steps: of the whole run.
        clock: seconds that never go back.
    """

    def __init__(self, console: Console, num_steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._num_steps = num_steps
        self._steps_here = 0  # an earlier session may have done others
        self._clock = clock
        self._start = clock()
        self._paused = 0.0
        self._last_line = -float("inf")
        self._losses: dict[str, float] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=num_steps, state="")

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def is_seen(self) -> bool:
        """Tell whether the console prints."""
        return not self._console.quiet

    def show_step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Show that a step is done."""
        for name, loss in losses.items():
            self._losses[name] = _SMOOTHING * self._losses.get(name, loss) + (1 - _SMOOTHING) * loss
        self._steps_here += 1
        state = self._describe(step, learning_rate)
        self._bar.update(self._task, completed=step, state=state)
        now = self._clock()
        if self._bar.disable and (now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self._num_steps):
            self._last_line = now
            self.note(f"step {step}/{self._num_steps}  {state}")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(escape(text), highlight=False, soft_wrap=True)

    @contextmanager
    def evaluating(self, total: int) -> Iterator[Callable[[int], None]]:
        """Count pictures on a bar of their own; their time is not the steps'."""
        task = self._bar.add_task("evaluate", total=total, state="")
        start = self._clock()
        try:
            yield lambda count: self._bar.update(task, advance=count)
        finally:
            self._paused += self._clock() - start
            self._bar.remove_task(task)

    def _describe(self, step: int, learning_rate: float) -> str:
        seconds = max(self._clock() - self._start - self._paused, 1e-9)
        speed = self._steps_here / seconds
        remaining = timedelta(seconds=round((self._num_steps - step) / speed))
        losses = " ".join(f"{name} {loss:.3f}" for name, loss in self._losses.items())
        total = sum(self._losses.values())
        return f"loss {total:.3f} ({losses})  lr {learning_rate:.2e}  {speed:.2f} it/s  {remaining} left"
