"""What the commands show while a data set is read: how far it is, and what is odd about it."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from panet.data.problems import Problem

__all__ = ["ReadingDisplay"]

_T = TypeVar("_T")
_MAX_WARNINGS = 20


class ReadingDisplay:
    """A progress bar on terminals, and a line for each warning up to a number."""

    def __init__(self, console: Console, what: str = "reading") -> None:
        """Show on a console; `what` stands beside the bar."""
        self._console = console
        self._what = what
        self._num_warnings = 0

    def track(self, items: Sequence[_T], /) -> Iterable[_T]:
        """Go through items, with a bar where someone sees it."""
        hidden = not self._console.is_terminal
        return track(items, self._what, console=self._console, transient=True, disable=hidden)

    def warn(self, problem: Problem) -> None:
        """Print a warning; of many, the first."""
        self._num_warnings += 1
        if self._num_warnings <= _MAX_WARNINGS:
            self._console.print(f"warning: {problem}", markup=False, soft_wrap=True)
        elif self._num_warnings == _MAX_WARNINGS + 1:
            self._console.print("warning: and more of the kind", markup=False)
