"""Lines that survive a full disk and a crash."""

import os
from pathlib import Path

import pytest

from panet.errors import CheckpointError
from panet.train.checkpoints import Standing
from panet.train.journal import Journal


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch):
    """Let nothing be written to any file, after half of it has been."""
    open_path = Path.open

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    monkeypatch.setattr(Path, "open", lambda self, *arguments: Full(open_path(self, *arguments)))
    return monkeypatch


def test_lines_wait_for_a_disk_that_is_full_and_no_half_line_remains(tmp_path: Path, full) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    assert journal.lines() == []
    for step in (1, 2):
        journal.keep({"step": step})
        with pytest.raises(OSError, match="No space left"):
            journal.write()
    assert os.path.getsize(tmp_path / "metrics.jsonl") == 0
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: cannot be written: No space left"):
        journal.flush()
    full.undo()
    journal.flush()
    journal.keep({"step": 3})
    journal.write()
    assert [line["step"] for line in journal.lines()] == [1, 2, 3]


def test_rewinding_leaves_a_file_alone_that_has_nothing_to_drop(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.rewind(Standing())
    journal.keep({"step": 1})
    journal.write()
    before = os.stat(tmp_path / "metrics.jsonl").st_ino
    journal.rewind(Standing(step=1))
    assert os.stat(tmp_path / "metrics.jsonl").st_ino == before
    journal.rewind(Standing())
    assert journal.lines() == []
