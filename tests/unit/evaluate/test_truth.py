"""What the evaluator is given: complete, renumbered, and refused by name where it cannot be used."""

from typing import Any

import numpy as np
import pytest

from panet.errors import DataError
from panet.evaluate.truth import check_results, read_truth
from panet.ops import rle

MASK = rle.encode_window(np.ones((2, 3), dtype=bool), 4, 5, (10, 20))


def document(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 30, "height": 10, "width": 20}, {"id": 4, "height": 5, "width": 5}, {"id": "a"}],
        "annotations": [{"id": 99, "image_id": 30, "category_id": 0, **annotation}],
        "categories": [{"id": 8, "name": "fig"}, {"id": 0, "name": "date"}],
    }


def result(**changes: Any) -> dict[str, Any]:
    return {"image_id": 30, "category_id": 8, "score": 1, "bbox": [1, 2, 3, 4], "segmentation": MASK, **changes}


def test_a_document_without_annotations_is_truth() -> None:
    truth = read_truth({"images": [], "annotations": [], "categories": []}, "segm")
    assert truth.document == {"images": [], "annotations": [], "categories": []}


def test_ids_become_numbers_in_the_order_of_the_ids() -> None:
    truth = read_truth(document(segmentation=MASK), "segm")
    assert truth.images == {4: 1, 30: 2, "a": 3}
    assert truth.categories == {0: 1, 8: 2}
    assert truth.names == ("date", "fig")
    annotation = truth.document["annotations"][0]
    assert (annotation["id"], annotation["image_id"], annotation["category_id"]) == (1, 2, 1)


def test_a_missing_box_area_and_crowd_flag_are_those_of_the_mask() -> None:
    annotation = read_truth(document(segmentation=MASK), "bbox").document["annotations"][0]
    assert (annotation["bbox"], annotation["area"], annotation["iscrowd"]) == ([4, 5, 3, 2], 6, 0)


def test_a_stated_box_and_area_are_kept() -> None:
    stated = document(segmentation=MASK, bbox=[1, 1, 2, 2], area=3.5, iscrowd=True)
    annotation = read_truth(stated, "segm").document["annotations"][0]
    assert (annotation["bbox"], annotation["area"], annotation["iscrowd"]) == ([1, 1, 2, 2], 3.5, 1)


def test_a_box_alone_can_be_scored_as_a_box() -> None:
    annotation = read_truth(document(bbox=[1, 1, 2, 3]), "bbox").document["annotations"][0]
    assert annotation["area"] == 6


def test_polygons_become_masks() -> None:
    annotation = read_truth(document(segmentation=[[4, 5, 7, 5, 7, 7, 4, 7]]), "segm").document["annotations"][0]
    assert annotation["segmentation"] == MASK


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"image_id": 31}, "annotation 99: image_id 31 is not in the data: it has 4, 30, 'a'"),
        ({"category_id": "8"}, "annotation 99: category_id is '8', a str: the data has 8; write it so"),
        ({}, "annotation 99: has no segmentation: masks cannot be scored without it"),
        ({"segmentation": {"size": [20, 10], "counts": "0"}}, r"annotation 99: RLE size \[20, 10\]"),
        ({"segmentation": MASK, "bbox": [1, 2, float("nan"), 3]}, r"annotation 99: bbox is \[1, 2, nan, 3\]"),
        ({"segmentation": MASK, "bbox": [9, 9, -2, 3]}, r"annotation 99: bbox is \[9, 9, -2, 3\]: a side is below 0"),
        ({"segmentation": MASK, "area": "6"}, "annotation 99: area is '6': expected a number"),
        ({"segmentation": MASK, "area": -1}, "annotation 99: area is -1: expected a number of px, 0 to 10000000000"),
        ({"segmentation": MASK, "area": 1e11}, "annotation 99: area is 1"),
        ({"segmentation": MASK, "iscrowd": "yes"}, "annotation 99: iscrowd is 'yes': expected 0 or 1"),
        ({"segmentation": MASK, "iscrowd": float("nan")}, "annotation 99: iscrowd is nan: expected 0 or 1"),
        ({"id": "a\nb", "category_id": 7}, r"annotation a\\nb: category_id 7 is not in the data"),
        ({"image_id": "a", "segmentation": MASK}, "annotation 99: its picture has no height and width"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(annotation: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_truth(document(**annotation), "segm")


@pytest.mark.parametrize("side", [0, -5, 10.5, float("nan"), 10**400, 10**9, "10", True])
def test_a_size_that_cannot_be_is_named_where_masks_need_it(side: Any) -> None:
    truth = document(segmentation=MASK, bbox=[1, 1, 2, 2], area=4)
    truth["images"][0]["height"] = side
    with pytest.raises(DataError, match="annotation 99: its picture has no height and width in the data, or"):
        read_truth(truth, "segm")
    assert read_truth(truth, "bbox").sizes[1] is None


def test_an_annotation_with_neither_box_nor_mask_is_named() -> None:
    with pytest.raises(DataError, match="annotation 99: has neither bbox nor segmentation"):
        read_truth(document(), "bbox")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "the ground truth has no list of images"),
        ({"annotations": [None]}, "the ground truth has no list of annotations"),
        ({"categories": [{"id": 1}, {"id": 1}]}, "categories must have ids of their own"),
        ({"images": [{"id": True}]}, "images must have ids of their own"),
        ({"images": [{"id": 1.0}]}, "images must have ids of their own"),
        ({"images": [{"file_name": "a.png"}]}, "images must have ids of their own"),
    ],
)
def test_a_document_that_is_no_ground_truth_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_truth({**document(segmentation=MASK), **changes}, "segm")


def test_a_list_is_no_ground_truth() -> None:
    with pytest.raises(DataError, match="the ground truth has no list of images"):
        read_truth([], "segm")  # type: ignore[arg-type]


def test_only_what_is_compared_is_kept_of_a_result() -> None:
    truth = read_truth(document(segmentation=MASK), "segm")
    plain = {"image_id": 2, "category_id": 2, "score": 1.0}
    assert check_results([result()], truth, "bbox") == [{**plain, "bbox": [1, 2, 3, 4]}]
    assert check_results([result()], truth, "segm") == [{**plain, "segmentation": MASK}]


def test_results_are_put_best_first_and_of_equals_the_larger_first() -> None:
    truth = read_truth(document(segmentation=MASK), "segm")
    boxes = [[0, 0, 1, 1], [0, 0, 3, 3], [9, 0, 2, 2], [1, 0, 2, 2]]
    results = [result(bbox=box, score=score) for box, score in zip(boxes, (0.9, 0.5, 0.5, 0.5), strict=True)]
    expected = [boxes[0], boxes[1], boxes[3], boxes[2]]
    for order in (results, results[::-1]):
        assert [each["bbox"] for each in check_results(order, truth, "bbox")] == expected


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ([1, 2], "bbox", "result 2: is a list: expected an object"),
        (result(image_id=5), "bbox", "result 2: image_id 5 is not in the data: it has 4, 30, 'a'"),
        (result(image_id="30"), "bbox", "result 2: image_id is '30', a str: the data has 30; write it so"),
        (result(image_id=[30]), "bbox", r"result 2: image_id \[30\] is not in the data"),
        (result(category_id=1), "bbox", "result 2: category_id 1 is not in the data: it has 0, 8"),
        (result(category_id=False), "bbox", "result 2: category_id False is not in the data"),
        (result(score=float("nan")), "bbox", "result 2: score is nan: expected a number from 0 to 1"),
        (result(score=float("inf")), "bbox", "result 2: score is inf: expected a number from 0 to 1"),
        (result(score=10**400), "bbox", "result 2: score is 10{59}: expected a number from 0 to 1"),
        (result(score=1.01), "bbox", "result 2: score is 1.01: expected a number from 0 to 1"),
        (result(score=-0.01), "bbox", "result 2: score is -0.01: expected a number from 0 to 1"),
        (result(score="0.5"), "bbox", "result 2: score is '0.5': expected a number from 0 to 1"),
        (result(image_id=30.0), "bbox", r"result 2: image_id is 30\.0, a float: the data has 30; write it so"),
        (result(image_id="x" * 1000), "bbox", "result 2: image_id 'x{59} is not in the data"),
        (result(image_id=None), "bbox", "result 2: image_id None is not in the data"),
        (result(bbox=[1, 2, 10**400, 3]), "bbox", "result 2: bbox is .*: expected"),
        (result(bbox=["1", "2", "3", "4"]), "bbox", "result 2: bbox is .*: expected"),
        (result(score=True), "bbox", "result 2: score is True: expected a number from 0 to 1"),
        (result(score=None), "segm", "result 2: score is None: expected a number from 0 to 1"),
        (result(bbox=[1, 2, 3]), "bbox", r"result 2: bbox is \[1, 2, 3\]: expected"),
        (result(bbox=None), "bbox", "result 2: bbox is None: expected"),
        (result(segmentation=None), "segm", "result 2: has no segmentation, which others have"),
        (result(segmentation={"size": [20, 10], "counts": "0"}), "segm", r"result 2: RLE size \[20, 10\]"),
        (result(segmentation={"size": [10, 20], "counts": [0, 500]}), "segm", "result 2: RLE"),
    ],
)
def test_a_result_that_cannot_be_used_is_named(bad: Any, kind: str, message: str) -> None:
    truth = read_truth(document(segmentation=MASK), "segm")
    with pytest.raises(DataError, match=message):
        check_results([result(), bad], truth, kind)
