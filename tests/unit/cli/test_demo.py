"""`panet demo`, with a tiny model in place of the bundled one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from panet.cli.demo import demo
from panet.errors import CheckpointError, DataError
from panet.weights import checkpoint


@pytest.fixture
def as_bundled(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model under the bundled model's name; an absolute path wins over the package's folder."""
    path = tmp_path / "bundled.safetensors"
    shutil.copy(tiny_model, path)
    monkeypatch.setitem(checkpoint.BUNDLED, "bundled", str(path))
    return path


def test_counts_the_truth_and_the_place_of_the_files_are_printed(
    as_bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    demo(output=output)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bundled model: nucleus")
    assert [line.split(":")[0] for line in lines[1:4]] == ["img2d.tif", "histo.jpg", "ihc.png"]
    assert lines[4].startswith("img2d.tif has 125 true nuclei: ")
    assert "missed" in lines[4]
    assert "mask AP " in lines[4]
    assert lines[5] == f"written: overlays and results.json in {output}"
    assert sorted(os.listdir(output)) == ["histo.png", "ihc.png", "img2d.png", "results.json"]
    images = json.loads((output / "results.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["img2d.tif", "histo.jpg", "ihc.png"]


def test_a_full_folder_is_refused(as_bundled: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not empty: add --overwrite"):
        demo(output=tmp_path)


def test_without_its_model_the_demo_says_so_and_makes_no_folder(as_bundled: Path, tmp_path: Path) -> None:
    as_bundled.unlink()
    with pytest.raises(CheckpointError, match="this installation came without its model"):
        demo(output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
