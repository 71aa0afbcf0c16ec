"""The lines of metrics.jsonl: none is lost while the disk is full, none is there twice after a crash."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panet.errors import CheckpointError
from panet.train.checkpoints import Standing
from panet.weights.files import write_whole

__all__ = ["Journal"]


class Journal:
    """A file of JSON lines; those that cannot be written are kept until they can.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[str] = []

    def keep(self, line: Mapping[str, Any]) -> None:
        """Take a line, which the next `write` adds to the file."""
        self._waiting.append(json.dumps(line) + "\n")

    def write(self) -> None:
        """Add the lines that wait; OSError if that cannot be: they go on waiting."""
        self._write(last=False)

    def flush(self) -> None:
        """Bring all lines to the disk; CheckpointError if that cannot be."""
        try:
            self._write(last=True)
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot be written: {error.strerror}") from error

    def lines(self) -> list[dict[str, Any]]:
        """Read all lines; none if there is no file."""
        if not self._path.exists():
            return []
        return [json.loads(text) for text in self._path.read_text(encoding="utf-8").splitlines()]

    def rewind(self, standing: Standing) -> int:
        """Drop the lines after a standing, and what is none, as after a crash; give the number of steps that remain."""
        if not self._path.exists():
            return 0
        content = self._path.read_text(encoding="utf-8", errors="replace")
        lines = [(text, line) for text in content.splitlines() if (line := _read(text, standing)) is not None]
        kept = "".join(text + "\n" for text, _ in lines)
        if kept != content:
            write_whole(self._path, kept.encode())
        return len({line["step"] for _, line in lines if "losses" in line})

    def _write(self, last: bool) -> None:
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write("".join(self._waiting).encode())
                file.flush()
                if last:
                    os.fsync(file.fileno())
                self._waiting = []
            except BaseException:
                os.ftruncate(file.fileno(), end)  # no half line
                raise


def _read(text: str, standing: Standing) -> dict[str, Any] | None:
    """Give a line of a run up to a standing; None for another one, or none."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(line, dict) or not isinstance(line.get("step"), int):
        return None
    last = standing.checked_step if "metrics" in line else standing.step
    return line if line["step"] <= last else None
