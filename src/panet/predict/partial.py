"""What is done of a folder of predictions, picture by picture, so that one which ended early can be gone on with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from panet.data.images import printable
from panet.errors import DataError
from panet.predict.result import Result

__all__ = ["PartialResults", "record_of"]

_PATTERN = "results.part-*.jsonl"
_MADE_BY = "made_by"


def record_of(name: str, result: Result) -> dict[str, Any]:
    """Give what is kept of a picture: its name, its size (height, width) and its COCO results."""
    return {"name": name, "size": list(result.size), "found": result.to_coco()}


class PartialResults:
    """Files of an output folder, one a process: what made them, then a line of JSON for each picture that is done.

    Args:
        folder: exists.
        made_by: the model and the options that results depend on; JSON can hold it.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, object]) -> None:
        self._folder = folder
        self._made_by = json.loads(json.dumps(made_by))
        self._file: TextIO | None = None

    def read(self) -> dict[str, dict[str, Any]]:
        """Give the records by name; a line that was cut short is left out.

        Raises:
            DataError: other options made them; or there are none, but the folder is not empty.
        """
        records: dict[str, dict[str, Any]] = {}
        paths = sorted(self._folder.glob(_PATTERN))
        if not paths and any(self._folder.iterdir()):
            raise DataError(
                f"{printable(self._folder)}: holds no predictions that were broken off: nothing to go on with; "
                "choose another --output, or --overwrite"
            )
        for path in paths:
            for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    line = json.loads(text)
                except json.JSONDecodeError:
                    continue
                if _MADE_BY in line:
                    self._check(path, line[_MADE_BY])
                else:
                    records[line["name"]] = line
        return records

    def clear(self) -> None:
        """Remove the files."""
        for path in self._folder.glob(_PATTERN):
            path.unlink()

    def open(self, rank: int) -> Self:
        """Begin or go on with the file of a process; the block that enters this closes it."""
        self._file = (self._folder / f"results.part-{rank}.jsonl").open("a", encoding="utf-8")
        self._write(f"\n{json.dumps({_MADE_BY: self._made_by})}\n")  # after what may have been cut short
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep that a picture is done."""
        self._write(json.dumps(record) + "\n")

    def _write(self, text: str) -> None:
        assert self._file is not None
        self._file.write(text)
        self._file.flush()

    def _check(self, path: Path, made_by: Mapping[str, object]) -> None:
        for name, value in self._made_by.items():
            if made_by.get(name) != value:
                raise DataError(
                    f"{printable(path)}: was begun with another {name} ({made_by.get(name)}, now {value}): give the "
                    "same again, or --overwrite to begin anew"
                )
