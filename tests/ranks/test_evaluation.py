"""`torchrun ... -m panet eval`: every picture exactly once, and the figures of one process."""

import json
import re
from pathlib import Path

import pytest

from panet.data.synthetic import write_shapes
from ranks.launch import alone, torchrun, train


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-three pictures to validate on: no number of processes divides them."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=4, num_val=23, size=64, seed=0)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    folder = tmp_path_factory.mktemp("model")
    done = alone(*train(shapes, "--steps", 2, "--set", "train.evaluate_every=1000"), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "train" / "weights" / "last.safetensors"


def figures(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if re.match(r"│ A[PR]", line)]


@pytest.mark.parametrize("options", [(), ("--tta", "--tta-scales", "1")])
def test_twenty_three_pictures_are_scored_as_by_one_process(
    shapes: Path, model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    words = ("eval", model, shapes, "--workers", 0, "--device", "cpu", *options, "--output")
    one, two = alone(*words, "one.json", folder=tmp_path), torchrun(*words, "two.json", folder=tmp_path)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "23 pictures, " in two.stdout
    assert figures(one.stdout) == figures(two.stdout) != []
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    results = json.loads((tmp_path / "two.json").read_text())
    assert len({each["image_id"] for each in results}) == 23


def test_more_processes_than_pictures_is_no_error(shapes: Path, model: Path, tmp_path: Path) -> None:
    document = json.loads((shapes / "val.json").read_text())
    document["images"] = document["images"][:1]
    kept = document["images"][0]["id"]
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] == kept]
    (tmp_path / "one.json").write_text(json.dumps(document))
    words = ("eval", model, "one.json", "--images", shapes / "images", "--workers", 0, "--device", "cpu")
    done = torchrun(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 pictures, " in done.stdout


def test_a_picture_that_cannot_be_read_ends_both_and_is_named_once(shapes: Path, model: Path, tmp_path: Path) -> None:
    document = json.loads((shapes / "val.json").read_text())
    document["images"][1]["file_name"] = "absent.png"
    (tmp_path / "bad.json").write_text(json.dumps(document))
    failed = torchrun("eval", model, "bad.json", "--images", shapes / "images", "--device", "cpu", folder=tmp_path)
    assert failed.stderr.count("error: bad.json: image 2: absent.png is not in ") == 1
    assert failed.stderr.count("traceback : rank 0: bad.json: image 2: absent.png is not in ") == 1
    assert "exitcode  : 2 " in failed.stderr
