"""`torchrun ... -m panet predict`: what one process writes and says, also after it was broken off."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ranks.launch import alone, torchrun
from unit.cli.conftest import tiny_model as tiny_model  # a fixture


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures, two of them of one stem, one damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 40, 50, 3), dtype=np.uint8)
    for name, image in zip("abcdef", pixels, strict=False):
        Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(pixels[6]).save(folder / "a.bmp")
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:-200])
    return folder


def options(model: Path, pictures: Path, output: str) -> list[object]:
    return ["predict", model, pictures, "--score", "0.0", "--device", "cpu", "--output", output]


def lines(printed: str) -> list[str]:
    return [line.replace("two/", "one/") for line in printed.splitlines()]


def test_two_processes_write_and_say_what_one_does(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    one = alone(*options(tiny_model, pictures, "one"), folder=tmp_path)
    two = torchrun(*options(tiny_model, pictures, "two"), folder=tmp_path)
    assert (one.returncode, two.returncode) == (2, 1), "one picture is damaged"
    assert one.stderr == "error: 1 of 7 pictures could not be used: they are named above\n"
    assert two.stderr.count("error: rank 0: 1 of 7 pictures could not be used") == 1
    assert lines(one.stdout) == lines(two.stdout)
    assert len(lines(one.stdout)) == 7
    names = sorted(os.listdir(tmp_path / "one"))
    assert names == sorted(os.listdir(tmp_path / "two"))
    assert len(names) == 7
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_what_a_killed_process_had_done_is_not_done_again(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    words = options(tiny_model, pictures, "one")
    alone(*words, folder=tmp_path)
    words = options(tiny_model, pictures, "two")
    killed = torchrun(*words, folder=tmp_path, fault="predict:1:3")
    assert killed.returncode == 1
    done = [json.loads(line) for line in (tmp_path / "two" / "results.part-1.jsonl").read_text().splitlines() if line]
    assert len(done) == 2, "what made them, and one of two pictures: the other is damaged"
    other = torchrun(*words[:4], "0.1", *words[5:], "--resume", folder=tmp_path)
    assert "was begun with another score_threshold (0.0, now 0.1): give the same again" in other.stderr
    resumed = alone(*words, "--resume", folder=tmp_path)
    assert " of 7 pictures were done before" in resumed.stdout
    assert not resumed.stdout.startswith("0 of 7")
    assert (tmp_path / "one" / "results.json").read_bytes() == (tmp_path / "two" / "results.json").read_bytes()
    assert sorted(os.listdir(tmp_path / "one")) == sorted(os.listdir(tmp_path / "two"))
