"""metrics.csv: the lines of metrics.jsonl as a table, a column a number."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panet.errors import CheckpointError
from panet.train.logs import flatten
from panet.weights.files import write_whole

__all__ = ["CsvLog"]


class CsvLog:
    """A table that always equals the lines: written anew from them when it begins, gets a column, or has failed.

    Args:
        path: of the file.
        lines: gives all lines, the one being logged included.
    """

    name = "metrics.csv"
    takes_pictures = False

    def __init__(self, path: Path, lines: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._path = path
        self._lines = lines
        self._columns: list[str] | None = None  # None: write it anew

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row."""
        if self._columns is None or not values.keys() <= set(self._columns):
            self.write_anew()
            return
        columns, self._columns = self._columns, None  # until the row is there as a whole
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_rows(columns, [{"step": step, **values}]))
        self._columns = columns

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """A table has none."""

    def close(self) -> None:
        """Nothing is on the way."""

    def write_anew(self) -> None:
        """Write the whole table; without lines there is none."""
        self._columns = None
        rows = [flatten(line) for line in self._lines()]
        if not rows:
            self._path.unlink(missing_ok=True)
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        header = _rows(columns, [{name: name for name in columns}])
        try:
            write_whole(self._path, (header + _rows(columns, rows)).encode())
        except CheckpointError as error:
            raise OSError(str(error)) from error
        self._columns = columns


def _rows(columns: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
