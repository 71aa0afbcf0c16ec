"""Scores on the terminal."""

import math

from rich.console import Console
from rich.table import Table

from panet.evaluate.table import class_table, metric_table


def text(table: Table) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_metric_has_a_row_and_a_kind_a_column() -> None:
    printed = text(metric_table({"box/AP": 0.5, "box/AR1": 0.25, "mask/AP": 0.12345}, 400))
    assert "400 detections" in printed
    (row,) = (line.replace("│", " ").split() for line in printed.splitlines() if "AR1" in line)
    assert row[:3] == ["AR1", "0.250", "-"]
    assert "0.123" in printed


def test_what_is_undefined_is_a_dash() -> None:
    printed = text(metric_table({"box/APl": math.nan}, 100))
    assert "nan" not in printed
    assert " - " in printed


def test_names_are_shown_as_they_are() -> None:
    printed = text(class_table({"[red]fig\n": {"box/AP": 0.5}, "date": {"box/AP": math.nan}}))
    assert "[red]fig\\n" in printed
    assert "box AP" in printed
