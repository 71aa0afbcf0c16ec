"""A data set is told from another one, wherever it lies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from panet.data.coco import read_coco
from panet.data.fingerprint import fingerprint
from panet.data.synthetic import write_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "first"
    write_shapes(folder, num_train=4, num_val=1, size=64, seed=1)
    return folder


def take(root: Path) -> dict[str, int | str]:
    return fingerprint(read_coco(root / "train.json", root / "images"))


def change(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        document = json.loads((root / "train.json").read_text())
        edit(document)
        (root / "train.json").write_text(json.dumps(document))

    return write


def turn(root: Path) -> None:
    path = root / "images" / "train_0000.png"
    with Image.open(path) as image:
        image.rotate(180).save(path)


def test_it_stays_when_the_folder_moves(shapes: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(shapes, tmp_path / "second")
    assert take(moved) == take(shapes)
    assert take(moved)["pictures"] == 4


@pytest.mark.parametrize(
    "edit",
    [
        change(lambda document: document["images"].reverse()),
        change(lambda document: document["images"].append({**document["images"][0], "id": 999})),
        change(lambda document: document["annotations"].pop()),
        change(lambda document: document["annotations"][0].update(iscrowd=1 - document["annotations"][0]["iscrowd"])),
        change(lambda document: document["annotations"][0].update(category_id=7)),
        turn,
    ],
    ids=["order", "one-more", "one-object-less", "crowd", "class", "pixels"],
)
def test_it_changes_with_what_training_sees(shapes: Path, tmp_path: Path, edit: Callable[[Path], None]) -> None:
    other = shutil.copytree(shapes, tmp_path / "second")
    edit(other)
    assert take(other)["sha256"] != take(shapes)["sha256"]
