"""How far reading is, shown on terminals and nowhere else."""

import io

import pytest
from rich.console import Console

from panet.cli.sources import track_on


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_is_shown_on_terminals_alone_and_every_item_comes(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    assert list(track_on(console, "converting")(["a", "b", "c"])) == ["a", "b", "c"]
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # of a StringIO
    assert ("converting" in shown) == terminal
    assert bool(shown) == terminal
