"""--fix: what is corrected, what is left out, and that the result reads back clean."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from panet.doctor.opening import open_part
from panet.doctor.parts import Part
from panet.doctor.repair import Change, repair
from panet.ops.rle import encode


def fix(planted: Any, part: str = "train", decode: bool = False) -> tuple[dict[str, Any], list[Change]]:
    """Give the corrected document, and see that it reads back without anything that was to be corrected."""
    diagnosis = planted.examine(decode)
    (read,) = (one for one in diagnosis.parts if one.name == part)
    before = copy.deepcopy(read.document)
    document, changes = repair(read, diagnosis.findings)
    assert read.document == before
    planted.documents[part] = json.loads(json.dumps(document, allow_nan=False))
    assert [str(finding.problem) for finding in planted.examine(decode).findings if finding.part == part] == []
    return document, changes


def test_a_clean_set_stays_as_it_is(planted: Any) -> None:
    planted.documents["train"]["info"] = {"year": 2018}
    before = copy.deepcopy(planted.documents["train"])
    assert fix(planted) == (before, [])


def test_boxes_and_areas_become_those_of_the_masks_where_they_are_off(planted: Any) -> None:
    planted.annotation(0)["bbox"] = [0, 0, 9, 9]
    planted.annotation(1)["bbox"] = [49.5, 5, 20.5, 40]  # within what a polygon's own box may differ
    planted.annotation(2)["area"] = 9
    del planted.annotation(3)["bbox"], planted.annotation(3)["area"], planted.annotation(3)["iscrowd"]
    document, changes = fix(planted)
    rows = document["annotations"]
    assert [row["bbox"] for row in rows[:4]] == [
        [10, 10, 30, 20],
        [49.5, 5, 20.5, 40],
        [5, 35, 25, 20],
        [12, 12, 15, 10],
    ]
    assert [row["area"] for row in rows[:4]] == [600, 800, 500, 150]
    assert rows[3]["iscrowd"] == 0
    rules = ["box-not-the-masks", "area-not-the-masks", "box-missing", "area-missing", "iscrowd-missing"]
    assert [change.rule for change in changes] == rules
    assert str(changes[0]) == "annotation 10 in 1.png: box [0, 0, 9, 9] -> [10, 10, 30, 20]"


def test_a_box_of_corners_becomes_the_masks(planted: Any) -> None:
    planted.annotation(0)["bbox"] = [10, 10, 40, 30]
    assert fix(planted)[0]["annotations"][0]["bbox"] == [10, 10, 30, 20]


def test_the_later_of_two_copies_is_left_out(planted: Any) -> None:
    planted.documents["train"]["annotations"].insert(5, {**planted.annotation(), "id": 900})
    document, changes = fix(planted)
    assert 900 not in [row["id"] for row in document["annotations"]]
    assert [str(change) for change in changes] == ["annotation 900 in 1.png: left out; the earlier one stays"]


def test_what_cannot_be_used_is_left_out_and_told(planted: Any) -> None:
    planted.annotation(0)["bbox"] = [1, 2, float("nan"), 4]
    planted.annotation(1)["segmentation"] = None
    planted.documents["train"]["annotations"].append(None)
    planted.picture(4)["file_name"] = "gone.png"
    document, changes = fix(planted)
    assert [row["id"] for row in document["images"]] == [1, 2, 3, 4]
    assert [row["id"] for row in document["annotations"]][:2] == [12, 13]
    assert {change.rule for change in changes} == {
        "box-not-numbers",
        "segmentation-missing",
        "annotation-not-object",
        "picture-missing",
    }
    assert all("left out" in change.change for change in changes)


@pytest.mark.parametrize("number", [0, None, 11, "a"])
def test_ids_that_would_spoil_an_evaluation_are_numbered_anew(planted: Any, number: object) -> None:
    planted.annotation(0)["id"] = number
    document, changes = fix(planted)
    assert [row["id"] for row in document["annotations"]] == list(range(1, 31))
    assert str(changes[-1]) == "all annotations numbered anew, 1 to 30"


def test_a_missing_size_is_that_of_the_picture(planted: Any) -> None:
    planted.picture().update(width=0, height=None)
    document, changes = fix(planted)
    assert (document["images"][0]["width"], document["images"][0]["height"]) == (90, 60)
    assert str(changes[0]) == "image 1: no size -> 90 x 60 px"


def test_swapped_sides_are_swapped_back_where_an_outline_proves_it(planted: Any) -> None:
    planted.picture().update(width=60, height=90)
    planted.annotation(0)["bbox"] = [0, 0, 9, 9]
    planted.annotation(2)["category_id"] = 99
    document, changes = fix(planted)
    assert (document["images"][0]["width"], document["images"][0]["height"]) == (90, 60)
    assert [row["id"] for row in document["annotations"]][:3] == [10, 11, 13]
    assert document["annotations"][0]["bbox"] == [10, 10, 30, 20]
    assert [change.rule for change in changes] == ["size-swapped", "box-not-the-masks", "category-unknown"]


def test_swapped_sides_leave_the_picture_out_where_nothing_proves_them(planted: Any) -> None:
    planted.picture().update(width=60, height=90)
    planted.documents["train"]["annotations"] = [
        row for row in planted.documents["train"]["annotations"] if row["image_id"] != 1 or row["bbox"][0] < 30
    ]
    document, changes = fix(planted)
    assert [row["id"] for row in document["images"]] == [2, 3, 4, 5]
    assert {row["image_id"] for row in document["annotations"]} == {2, 3, 4, 5}
    assert "left out with its annotations" in str(changes[0])


@pytest.mark.parametrize("own", [True, False])
def test_a_mask_in_rle_tells_which_size_is_right(planted: Any, own: bool) -> None:
    planted.picture().update(width=60, height=90)
    mask = np.zeros((60, 90) if own else (90, 60), dtype=bool)
    mask[10:20, 10:20] = True
    rows = planted.documents["train"]["annotations"]
    first = {**rows[0], "segmentation": dict(encode(mask)), "bbox": [10, 10, 10, 10], "area": 100}
    planted.documents["train"]["annotations"] = [first, *rows[6:]]
    assert (len(fix(planted)[0]["images"]) == 5) == own


def test_an_outline_beyond_both_sizes_proves_nothing(planted: Any) -> None:
    planted.picture().update(width=60, height=90)
    planted.annotation(0)["segmentation"] = [[10, 10, 95, 10, 95, 30, 10, 30]]
    assert len(fix(planted)[0]["images"]) == 4


def test_polygons_without_inside_are_removed(planted: Any) -> None:
    planted.annotation()["segmentation"].append([1, 2, 3, 4])
    document, changes = fix(planted)
    assert len(document["annotations"][0]["segmentation"]) == 1
    assert [change.rule for change in changes] == ["polygon-part-left-out"]


def test_a_picture_that_decoding_finds_damaged_is_left_out(planted: Any) -> None:
    whole = planted.path()
    from PIL import Image

    with Image.open(whole) as image:
        image.convert("RGB").save(whole, "JPEG")
    content = whole.read_bytes()
    table = content.index(b"\xff\xc4")
    whole.write_bytes(content[: table + 5] + b"\xff" * 16 + content[table + 21 :])
    document, _ = fix(planted, decode=True)
    assert [row["id"] for row in document["images"]] == [2, 3, 4, 5]


def test_numbers_that_json_does_not_have_become_null(planted: Any) -> None:
    planted.annotation()["attributes"] = {"score": float("nan"), "path": [1.5, float("inf")]}
    document, _ = fix(planted)
    assert document["annotations"][0]["attributes"] == {"score": None, "path": [1.5, None]}


def test_a_part_without_anything_to_use_is_not_opened(planted: Any) -> None:
    from panet.data.formats.source import coco_part

    for row in planted.documents["val"]["images"]:
        row["file_name"] = "gone.png"
    planted.write()
    opened = open_part("val", coco_part(planted.root / "val.json", planted.root / "images"))
    assert not isinstance(opened, Part)
    assert [finding.problem.rule for finding in opened] == ["picture-missing"] * 2 + ["no-usable-picture"]
