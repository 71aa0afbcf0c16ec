"""All logs of a run as one: each gets what it takes, and one that fails is done without."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panet.train.csv_log import CsvLog
from panet.train.journal import Journal
from panet.train.logs import Log, flatten, open_logs

__all__ = ["LogGroup"]


class LogGroup:
    """The logs beside metrics.jsonl: none is open before `open`.

    Args:
        folder: of the run.
        journal: metrics.jsonl, which metrics.csv follows.
        services: names in `logs.SERVICES` that are asked for.
        settings: of the run, shown there.
        note: told of a log that is lost.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        services: Sequence[str],
        settings: Mapping[str, Any],
        note: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._table = CsvLog(folder / "metrics.csv", journal.lines)
        self._services = services
        self._settings = settings
        self._note = note
        self._open: list[Log] = []

    @property
    def takes_pictures(self) -> bool:
        """Whether one of them shows pictures."""
        return any(log.takes_pictures for log in self._open)

    def open(self, step: int) -> None:
        """Open all, as of a step: what was logged after it is logged again."""
        self._open = [self._table, *open_logs(self._folder, step, self._services, self._settings)]
        with self._spared(self._table, step):
            self._table.write_anew()

    def scalars(self, line: Mapping[str, Any]) -> None:
        """Log a line of metrics.jsonl."""
        values = flatten(line)
        step = int(values.pop("step"))
        for log in self._open:
            with self._spared(log, step):
                log.scalars(step, values)

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Log pictures (H, W, 3) RGB of a step."""
        for log in self._open:
            with self._spared(log, step):
                log.pictures(step, named)

    def close(self) -> None:
        """Close all; what they flush then and cannot was told to be lost."""
        for log in self._open:
            with contextlib.suppress(OSError):
                log.close()
        self._open = []

    @contextlib.contextmanager
    def _spared(self, log: Log, step: int) -> Iterator[None]:
        """Do without a log that fails. The table stays: of a full disk metrics.jsonl tells, and it is written anew."""
        try:
            yield
        except OSError as error:
            if log is not self._table:
                self._note(f"{log.name}: {error.strerror or error}: its curves end before step {step}")
                self._open = [other for other in self._open if other is not log]
                with contextlib.suppress(OSError):
                    log.close()
