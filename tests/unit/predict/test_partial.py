"""Predictions that were broken off: what is done is known, what was cut short is not."""

from pathlib import Path

import pytest

from panet.errors import DataError
from panet.predict.partial import PartialResults

RECORD = {"name": "a.png", "size": [4, 5], "found": []}


def partial(folder: Path, score: float = 0.5) -> PartialResults:
    return PartialResults(folder, {"score": score})


def test_an_empty_folder_has_nothing_done(tmp_path: Path) -> None:
    assert partial(tmp_path).read() == {}


def test_the_records_of_all_processes_are_read_and_a_line_cut_short_is_not(tmp_path: Path) -> None:
    for rank in (0, 1):
        with partial(tmp_path).open(rank) as parts:
            parts.append({**RECORD, "name": f"{rank}.png"})
    with (tmp_path / "results.part-1.jsonl").open("a") as file:
        file.write('{"name": "cut')
    with partial(tmp_path).open(1) as parts:
        parts.append(RECORD)
    assert list(partial(tmp_path).read()) == ["0.png", "1.png", "a.png"]
    partial(tmp_path).clear()
    assert list(tmp_path.iterdir()) == []


def test_records_made_by_other_options_are_refused(tmp_path: Path) -> None:
    with partial(tmp_path).open(0) as parts:
        parts.append(RECORD)
    with pytest.raises(DataError, match=r"part-0.jsonl: was begun with another score \(0.5, now 0.4\): give the same"):
        partial(tmp_path, 0.4).read()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="holds no predictions that were broken off"):
        partial(tmp_path).read()
