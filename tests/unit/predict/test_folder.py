"""Sources in, a folder of predictions out."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panet.errors import DataError
from panet.predict.folder import coco_document, list_sources, overlay_names, prepare_folder
from panet.predict.partial import record_of
from panet.predict.result import Result
from panet.structures import Detections, LabelMap

LABELS = LabelMap((3, 90), ("fig", "date"))


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(path)
    return path


def make_result(*, masks: bool = True) -> Result:
    grids = torch.ones(1, 4, 4) if masks else None
    found = Detections(torch.tensor([[1.0, 1.0, 3.0, 4.0]]), torch.tensor([0.9]), torch.tensor([2]), grids)
    return Result(np.zeros((10, 20, 3), np.uint8), found, LABELS)


def test_files_folders_and_patterns_are_listed_each_picture_once(tmp_path: Path) -> None:
    a, b, c = (write_picture(tmp_path / name) for name in ("a.png", "b.JPG", "sub/c.png"))
    (tmp_path / "notes.txt").write_text("no picture")
    assert list_sources([c, tmp_path]) == [c, a, b]
    assert list_sources([tmp_path / "*.png", a, str(tmp_path / "sub" / ".." / "a.png")]) == [a]


@pytest.mark.parametrize("source", ["absent.png", "empty", "*.tif", "text.png"])
def test_a_source_without_a_picture_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=source.replace("*", r"\*")):
        list_sources([write_picture(tmp_path / "a.png"), tmp_path / source])


def test_a_folder_is_made(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "b", overwrite=False)
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_folder_that_is_not_empty_wants_permission(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="not empty: add --overwrite"):
        prepare_folder(tmp_path, overwrite=False)
    prepare_folder(tmp_path, overwrite=True)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_file_in_the_way_is_an_error(tmp_path: Path, below: str) -> None:
    with pytest.raises(DataError, match="a file is in the way"):
        prepare_folder(write_picture(tmp_path / "a.png") / below, overwrite=True)


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(DataError, match="cannot be written to: Permission denied"):
        prepare_folder(tmp_path / "out", overwrite=False)


def test_overlays_of_one_stem_get_names_of_their_own() -> None:
    assert overlay_names(["a.png", "sub/A.jpg", "a-2.png", "a.tif"]) == ["a.png", "A-2.png", "a-2-2.png", "a-3.png"]


def test_the_document_is_coco_ground_truth_with_scores() -> None:
    records = [record_of("a.png", make_result()), record_of("b.png", make_result(masks=False))]
    document = coco_document(records, LABELS)
    assert document["images"] == [
        {"id": 1, "file_name": "a.png", "height": 10, "width": 20},
        {"id": 2, "file_name": "b.png", "height": 10, "width": 20},
    ]
    assert document["categories"] == [{"id": 3, "name": "fig"}, {"id": 90, "name": "date"}]
    first, second = document["annotations"]
    assert first.pop("segmentation")["size"] == [10, 20]
    assert first.pop("score") == second.pop("score") == pytest.approx(0.9)
    plain = {"category_id": 90, "bbox": [1, 1, 2, 3], "area": 6, "iscrowd": 0}
    assert first == {"id": 1, "image_id": 1, **plain}
    assert second == {"id": 2, "image_id": 2, **plain}
