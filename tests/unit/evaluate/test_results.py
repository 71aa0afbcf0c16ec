"""Detections as COCO results, and the files that hold them."""

import json
from pathlib import Path

import pytest
import torch

from panet.errors import DataError
from panet.evaluate.results import coco_results, read_results, rounded, with_ids_of, write_json
from panet.ops import rle
from panet.ops.paste import masks_to_rle
from panet.structures import Detections, LabelMap

LABELS = LabelMap((3, 90), ("fig", "date"))


def test_nothing_detected_is_an_empty_list() -> None:
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 28, 28))
    assert coco_results(nothing, 5, (10, 20), LABELS) == []


def test_a_detection_gets_its_category_id_its_xywh_box_and_its_mask() -> None:
    grid = torch.ones(1, 4, 4)
    found = Detections(torch.tensor([[4.0, 5.0, 7.0, 7.0]]), torch.tensor([0.75]), torch.tensor([2]), grid)
    (result,) = coco_results(found, "a", (10, 20), LABELS)
    segmentation = result.pop("segmentation")
    assert result == {"image_id": "a", "category_id": 90, "bbox": [4, 5, 3, 2], "score": 0.75}
    mask = rle.decode(segmentation, (10, 20))
    assert mask[5:7, 4:7].all()
    assert mask.sum() == 6


def test_without_a_mask_branch_there_is_no_segmentation() -> None:
    found = Detections(torch.tensor([[4.0, 5.0, 7.0, 7.0]]), torch.tensor([0.75]), torch.tensor([1]))
    (result,) = coco_results(found, 1, (10, 20), LABELS)
    assert "segmentation" not in result


def test_a_box_without_a_pixel_has_an_empty_mask() -> None:
    found = Detections(torch.tensor([[4.1, 5.1, 4.2, 5.2]]), torch.ones(1), torch.tensor([1]), torch.ones(1, 4, 4))
    (result,) = coco_results(found, 1, (10, 20), LABELS)
    assert rle.area(result["segmentation"]) == 0


def test_a_box_that_names_its_last_pixel_is_a_pixel_wider() -> None:
    box, grid = torch.tensor([[4.0, 5.0, 7.0, 7.0]]), torch.ones(1, 28, 28)
    found = Detections(box, torch.ones(1), torch.tensor([1]), grid, inclusive=True)
    (result,) = coco_results(found, 1, (10, 20), LABELS)
    assert result["bbox"] == [4, 5, 4, 3]
    assert [result["segmentation"]] == masks_to_rle(grid, box, (10, 20), inclusive=True)


def test_what_is_written_is_rounded_and_can_be_read_again(tmp_path: Path) -> None:
    results = [{"image_id": 1, "bbox": [1 / 3, 0, 2, 1e-9], "score": 2 / 3}]
    write_json(tmp_path / "results.json", rounded(results))
    assert read_results(tmp_path / "results.json") == [{"image_id": 1, "bbox": [0.333, 0, 2, 0], "score": 0.666667}]
    assert results[0]["score"] == 2 / 3


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.json: cannot be written: No such file"):
        write_json(tmp_path / "absent" / "results.json", [])


def test_results_that_are_no_list_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"annotations": []}))
    with pytest.raises(DataError, match=r"results\.json: holds one dict: COCO results are a list"):
        read_results(path)


def test_a_models_labels_take_the_datas_ids_by_name() -> None:
    data = LabelMap((1, 2), ("date", "fig"))
    assert with_ids_of(LABELS, LABELS) == LABELS
    assert with_ids_of(LABELS, data) == LabelMap((2, 1), ("fig", "date"))


def test_other_classes_than_the_models_are_refused() -> None:
    message = "only the data has 'plum', only the model 'date'"
    with pytest.raises(DataError, match=message):
        with_ids_of(LABELS, LabelMap((1, 2), ("fig", "plum")))
