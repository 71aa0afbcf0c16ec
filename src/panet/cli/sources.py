"""What the commands show while a data set is read or written."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from panet.data.formats.reading import Track

__all__ = ["track_on"]

_T = TypeVar("_T")


def track_on(console: Console, what: str = "reading") -> "Track":
    """Give what goes through items, with a bar on a console where someone sees it; `what` stands beside the bar."""

    def go(items: Sequence[_T], /) -> Iterable[_T]:
        return track(items, what, console=console, transient=True, disable=not console.is_terminal)

    return go
