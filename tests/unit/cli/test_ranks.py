"""What a command says as one of several processes, and to torchrun."""

import json
from pathlib import Path

import pytest

from panet.cli import ranks
from panet.cli.main import run


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be rank 1 of 2; give the file into which torchrun looks for the cause."""
    place = tmp_path / "error.json"
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_ERROR_FILE": str(place)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks, "_SECONDS_FOR_OTHERS", 0.0)
    return place


def test_alone_there_is_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert ranks.rank_prefix() == ""
    assert ranks.speaks_for_all()


def test_an_error_names_its_rank_and_is_left_for_torchrun(second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env"]) == 2
    said = capsys.readouterr().err
    assert (
        said
        == "error: rank 1: env: runs in one process: start it without torchrun (which is for train, eval, predict)\n"
    )
    assert json.loads(second.read_text())["message"] == said.removeprefix("error: ").strip()


def test_a_wrong_option_is_said_by_the_first_rank_only(second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--nonsense"]) == 2
    assert capsys.readouterr().err == ""
