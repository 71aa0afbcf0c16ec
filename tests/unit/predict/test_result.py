"""A picture's result: in image px, masks in three forms that agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panet.errors import DataError
from panet.ops import rle
from panet.ops.polygons import trace
from panet.predict.result import Result
from panet.structures import Detections, LabelMap

LABELS = LabelMap((3, 90), ("fig", "date"))
SIZE = (30, 40)


def ring() -> torch.Tensor:
    """A (1, 8, 8) grid with a hole."""
    grid = torch.ones(1, 8, 8)
    grid[0, 2:6, 2:6] = 0
    return grid


def make_result(*, masks: bool = True, count: int = 2, source: str = "a.png") -> Result:
    boxes = torch.tensor([[4.0, 2.0, 20.0, 18.0], [22.0, 10.0, 38.0, 26.0]])[:count]
    grids = torch.cat([ring(), ring()])[:count] if masks else None
    found = Detections(boxes, torch.tensor([0.9, 0.6])[:count], torch.tensor([2, 1])[:count], grids)
    return Result(np.zeros((*SIZE, 3), np.uint8), found, LABELS, source)


def test_nothing_found_is_a_result() -> None:
    result = make_result(count=0)
    assert (len(result), result.names, result.counts, result.to_coco()) == (0, [], {}, [])
    assert result.boxes.shape == (0, 4)
    assert result.masks is not None
    assert list(result.masks) == []
    assert repr(result) == "Result(a.png, 40 x 30 px: nothing)"
    assert result.draw().size == (160, 120)


def test_boxes_scores_labels_and_names_belong_together() -> None:
    result = make_result()
    assert result.boxes.tolist() == [[4, 2, 20, 18], [22, 10, 38, 26]]
    assert result.scores.tolist() == pytest.approx([0.9, 0.6])
    assert result.labels.tolist() == [2, 1]
    assert result.names == ["date", "fig"]
    assert result.counts == {"fig": 1, "date": 1}
    assert repr(result) == "Result(a.png, 40 x 30 px: 1 fig, 1 date)"
    assert repr(make_result(source="")).startswith("Result(picture, ")


def test_the_three_forms_of_a_mask_agree() -> None:
    masks = make_result().masks
    assert masks is not None
    for mask in masks:
        assert mask.array.shape == SIZE
        assert np.array_equal(rle.decode(mask.rle), mask.array)
        assert mask.area == mask.array.sum() > 0
        (polygon,) = mask.polygons
        (expected,) = trace(mask.array)
        assert np.array_equal(polygon.exterior, expected.exterior)
        assert len(polygon.holes) == 1
        assert np.array_equal(polygon.holes[0], expected.holes[0])


def test_a_mask_lies_in_its_box_with_its_hole() -> None:
    masks = make_result().masks
    assert masks is not None
    array = masks[0].array
    assert array[2, 4]
    assert not array[10, 12]
    array = array.copy()
    array[2:18, 4:20] = False
    assert not array.any()


def test_masks_are_a_sequence() -> None:
    masks = make_result().masks
    assert masks is not None
    assert len(masks) == 2
    assert np.array_equal(masks[-1].array, masks[1].array)
    assert [mask.area for mask in masks[:1]] == [masks[0].area]
    assert repr(masks) == "Masks(2 of 40 x 30 px)"
    assert repr(masks[0]) == f"Mask({masks[0].area} of 40 x 30 px)"
    for index in (2, -3):
        with pytest.raises(IndexError, match="of 2"):
            masks[index]


def test_coco_results_have_the_datas_category_ids() -> None:
    result = make_result()
    assert result.masks is not None
    first, second = result.to_coco("x")
    assert first["segmentation"] == result.masks[0].rle
    assert (first["image_id"], first["category_id"], first["bbox"]) == ("x", 90, [4, 2, 16, 16])
    assert second["category_id"] == 3


def test_a_model_without_masks_gives_boxes() -> None:
    result = make_result(masks=False)
    assert result.masks is None
    assert "segmentation" not in result.to_coco()[0]
    assert np.asarray(result.draw())[4 * 2, 4 * 4].any()


def test_the_overlay_is_saved(tmp_path: Path) -> None:
    result = make_result()
    result.save(tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(result.draw()))


def test_masks_are_drawn_where_they_are_in_the_magnified_picture() -> None:
    shown = np.asarray(make_result().draw()).any(axis=2)
    assert shown[2 * 4, 4 * 4]
    assert shown[26 * 4 - 1, 38 * 4 - 1]
    shown = shown.copy()
    shown[2 * 4 : 18 * 4, 4 * 4 : 20 * 4] = shown[10 * 4 : 26 * 4, 22 * 4 : 38 * 4] = False
    assert not shown[41:].any()  # above, there are captions


@pytest.mark.parametrize("name", ["overlay.xyz", "absent/overlay.png"])
def test_an_overlay_that_cannot_be_saved_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        make_result().save(tmp_path / name)
