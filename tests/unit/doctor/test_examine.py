"""Each rule finds the quirk it is for, names the item, and finds nothing in a clean set."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from panet.data.problems import Outcome
from panet.doctor.fit import ModelFit
from panet.doctor.outlines import crossings
from panet.doctor.parts import Finding
from panet.ops.rle import encode


def only(findings: Any, rule: str) -> Finding:
    """Give the one finding there is, and see that it is of the rule."""
    assert [finding.problem.rule for finding in findings] == [rule], [str(finding.problem) for finding in findings]
    return findings[0]


@pytest.mark.parametrize("decode", [False, True])
def test_a_clean_set_has_no_finding(planted: Any, decode: bool) -> None:
    diagnosis = planted.examine(decode)
    assert [str(finding.problem) for finding in diagnosis.findings] == []
    assert not diagnosis.refused
    assert diagnosis.figures["train"].objects_per_picture.tolist() == [6] * 5
    assert diagnosis.figures["train"].classes.tolist() == [15, 15]
    assert diagnosis.figures["val"].picture_sizes == {(90, 60): 2}


@pytest.mark.parametrize("box", [[10, 10, 30, 23], [7, 10, 33, 20], [10, 10, 60, 40]])
def test_a_box_that_is_off_by_more_than_two_pixels_is_found(planted: Any, box: list[int]) -> None:
    planted.annotation()["bbox"] = box
    finding = only(planted.examine().findings, "box-not-the-masks")
    assert finding.problem.outcome is Outcome.WARN
    assert finding.problem.annotation_id == 10
    assert finding.problem.image_id == 1
    assert "annotation 10" in finding.problem.place
    assert "[10, 10, 30, 20]" in finding.problem.why
    assert (finding.part, finding.image, finding.objects) == ("train", 0, (0,))


def test_a_box_that_is_off_by_two_pixels_is_not_found(planted: Any) -> None:
    planted.annotation()["bbox"] = [9, 9, 32, 22]
    assert planted.examine().findings == ()


def test_a_box_scaled_by_a_factor_is_called_so(planted: Any) -> None:
    planted.annotation()["bbox"] = [16, 16, 48, 32]
    finding = only(planted.examine().findings, "box-not-the-masks")
    assert "scaled by 1.6" in finding.problem.why


def test_a_box_of_corners_is_found_once(planted: Any) -> None:
    planted.annotation()["bbox"] = [10, 10, 40, 30]
    finding = only(planted.examine().findings, "box-of-corners")
    assert (finding.image, finding.objects) == (0, (0,))


@pytest.mark.parametrize(("area", "found"), [(600 * 1.06, True), (600 * 0.94, True), (600 * 1.04, False)])
def test_an_area_that_is_off_by_more_than_a_twentieth_is_found(planted: Any, area: float, found: bool) -> None:
    planted.annotation()["area"] = area
    findings = planted.examine().findings
    if found:
        assert "600 px" in only(findings, "area-not-the-masks").problem.why
    else:
        assert findings == ()


def test_the_area_of_a_crowd_does_not_matter(planted: Any) -> None:
    planted.annotation().update(area=9, iscrowd=1)
    assert planted.examine().findings == ()


def test_a_polygon_that_crosses_itself_is_found_where_it_does(planted: Any) -> None:
    planted.annotation()["segmentation"] = [[10, 10, 40, 30, 40, 10, 10, 30]]
    planted.annotation()["area"] = 300
    finding = only(planted.examine().findings, "outline-crosses-itself")
    assert finding.spots == ((25.0, 20.0),)


def test_edges_that_touch_do_not_cross() -> None:
    ring = np.array([[0, 0], [10, 0], [10, 10], [5, 0], [0, 10]], dtype=float)  # a corner on an edge
    closed = np.array([[0, 0], [4, 0], [4, 0], [4, 4], [0, 4], [0, 0]], dtype=float)
    assert len(crossings(ring)) == len(crossings(closed)) == 0
    assert len(crossings(np.zeros((3, 2)))) == 0


def test_crossings_are_those_of_all_pairs_of_edges() -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        polygon = draw.uniform(0, 10, (12, 2))
        ends = np.roll(polygon, -1, axis=0)
        expected = 0
        for i in range(12):
            for j in range(i + 2, 12 if i else 11):
                a, b, c, d = polygon[i], ends[i], polygon[j], ends[j]
                t, s = np.linalg.solve(np.stack([b - a, c - d], axis=1), c - a)
                expected += 0 < t < 1 and 0 < s < 1
        assert len(crossings(polygon)) == expected


def test_an_outline_of_too_many_edges_over_another_is_left_alone() -> None:
    assert len(crossings(np.random.default_rng(0).uniform(0, 10, (20_000, 2)))) == 0


def test_a_stray_pixel_of_a_mask_is_found(planted: Any) -> None:
    mask = np.zeros((60, 90), dtype=bool)
    mask[10:30, 10:40] = True
    mask[9, 40] = True  # touches by a corner
    planted.annotation()["segmentation"] = dict(encode(mask))
    assert planted.examine().findings == ()
    mask[59, 40] = True
    mask[0:9, 40:42] = True  # the pixel after (59, 40), column by column, is the one at (0, 41)
    planted.annotation().update(segmentation=dict(encode(mask)), bbox=[10, 0, 32, 60], area=int(mask.sum()))
    finding = only(planted.examine().findings, "one-pixel-part")
    assert finding.spots == ((40.5, 59.5),)


def test_a_polygon_that_covers_no_pixel_is_found(planted: Any) -> None:
    planted.annotation()["segmentation"].append([20, 15, 21, 15, 20.5, 15.1])
    assert "polygon 2 of 2 covers 0 px" in only(planted.examine().findings, "one-pixel-part").problem.why


def test_an_outline_that_leaves_the_picture_is_found(planted: Any) -> None:
    planted.annotation().update(segmentation=[[80, 10, 91, 10, 91, 30, 80, 30]], bbox=[80, 10, 11, 20], area=200)
    assert planted.examine().findings == ()
    planted.annotation().update(segmentation=[[80, 10, 95, 10, 95, 30, 80, 30]], bbox=[80, 10, 10, 20])
    finding = only(planted.examine().findings, "mask-leaves-picture")
    assert "5.0 px" in finding.problem.why


def test_an_object_that_is_there_twice_is_found_by_its_later_copy(planted: Any) -> None:
    copy = {**planted.annotation(), "id": 900, "segmentation": [[10, 10, 40, 10, 40, 29, 10, 29]], "area": 570}
    planted.documents["train"]["annotations"].append(copy)
    finding = only(planted.examine().findings, "duplicate-object")
    assert finding.problem.annotation_id == 900
    assert finding.objects == (6, 0)
    assert "annotation 10 " in finding.problem.why
    assert "0.950" in finding.problem.why


def test_of_many_copies_each_is_found_once(planted: Any) -> None:
    rows = planted.documents["train"]["annotations"]
    rows += [{**rows[0], "id": 900 + number} for number in range(5)]
    findings = planted.examine().findings
    assert [finding.problem.annotation_id for finding in findings] == [900, 901, 902, 903, 904]
    assert {finding.objects[1] for finding in findings} == {0}


def test_objects_that_overlap_by_less_are_two(planted: Any) -> None:
    copy = {**planted.annotation(), "id": 900, "segmentation": [[10, 10, 40, 10, 40, 27, 10, 27]], "area": 510}
    planted.documents["train"]["annotations"].append({**copy, "bbox": [10, 10, 30, 17]})
    assert planted.examine().findings == ()


def test_a_crowd_over_an_object_is_no_copy_of_it(planted: Any) -> None:
    planted.documents["train"]["annotations"].append({**planted.annotation(), "id": 900, "iscrowd": 1})
    assert planted.examine().findings == ()


def test_one_mask_with_two_classes_is_found(planted: Any) -> None:
    planted.documents["train"]["annotations"].append({**planted.annotation(), "id": 900, "category_id": 2})
    finding = only(planted.examine().findings, "same-mask-two-classes")
    assert "'seed'" in finding.problem.why
    assert "'cell'" in finding.problem.why


def test_swapped_width_and_height_are_found(planted: Any) -> None:
    planted.picture().update(width=60, height=90)
    diagnosis = planted.examine()
    finding = only(diagnosis.findings, "size-swapped")
    assert finding.problem.outcome is Outcome.DROP_IMG
    assert finding.problem.image_id == 1
    assert finding.frame == (60, 90)
    assert diagnosis.refused


def test_a_size_that_is_scaled_is_found_with_its_factor(planted: Any) -> None:
    planted.picture().update(width=180, height=120)
    assert "0.5 times" in only(planted.examine().findings, "size-scaled").problem.why


def test_a_size_of_another_picture_is_found(planted: Any) -> None:
    planted.picture().update(width=91, height=60)
    only(planted.examine().findings, "size-not-the-pictures")


def save_turned(path: Path, orientation: int) -> None:
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.convert("RGB").save(path, "JPEG", exif=exif, quality=95)


def test_a_picture_that_exif_turns_upside_down_is_found(planted: Any) -> None:
    save_turned(planted.path(), 3)
    finding = only(planted.examine().findings, "exif-turned")
    assert "upside down (EXIF orientation 3)" in finding.problem.why


def test_annotations_of_a_picture_as_it_is_stored_are_found(planted: Any) -> None:
    save_turned(planted.path(), 6)
    finding = only(planted.examine(decode=True).findings, "size-before-exif")
    assert finding.image == 0


def test_a_picture_that_cannot_be_decoded_is_found_by_decoding(planted: Any) -> None:
    with Image.open(planted.path()) as image:
        image.convert("RGB").save(planted.path(), "JPEG")
    whole = planted.path().read_bytes()
    table = whole.index(b"\xff\xc4")
    damaged = whole[: table + 5] + b"\xff" * 16 + whole[table + 21 :]  # more codes than there can be
    planted.path().write_bytes(damaged)
    assert planted.examine().findings == ()
    finding = only(planted.examine(decode=True).findings, "picture-damaged")
    assert finding.problem.image_id == 1
    assert finding.problem.outcome is Outcome.DROP_IMG


def test_a_picture_of_train_in_val_is_found_byte_for_byte(planted: Any) -> None:
    shutil.copy(planted.path(0, "train"), planted.path(1, "val"))
    finding = only(planted.examine(decode=True).findings, "same-file-in-both")
    assert (finding.part, finding.image, finding.twin) == ("val", 1, ("train", 0))


def test_one_file_that_train_and_val_list_is_found(planted: Any) -> None:
    planted.picture(1, "val")["file_name"] = planted.picture(0)["file_name"]
    only(planted.examine(decode=True).findings, "same-file-in-both")


def test_two_equal_files_of_one_part_are_found(planted: Any) -> None:
    shutil.copy(planted.path(0), planted.path(2))
    finding = only(planted.examine().findings, "same-file-twice")
    assert (finding.image, finding.twin) == (2, ("train", 0))


@pytest.mark.parametrize("change", ["compressed", "brighter", "less contrast", "smaller"])
def test_a_picture_of_val_that_looks_like_one_of_train_is_found_by_decoding(planted: Any, change: str) -> None:
    with Image.open(planted.path(2)) as image:
        picture = image.convert("RGB")
    if change == "brighter":
        picture = ImageEnhance.Brightness(picture).enhance(1.15)
    if change == "less contrast":
        picture = ImageEnhance.Contrast(picture).enhance(0.7)
    if change == "smaller":
        planted.picture(0, "val").update(width=72, height=48)
        planted.documents["val"]["annotations"] = planted.documents["val"]["annotations"][6:]
        picture = picture.resize((72, 48))
    picture.save(planted.path(0, "val"), "JPEG" if change == "compressed" else "PNG", quality=40)
    assert planted.examine().findings == ()
    finding = only(planted.examine(decode=True).findings, "near-duplicate-picture")
    assert (finding.part, finding.image, finding.twin) == ("val", 0, ("train", 2))
    assert "3.png of train" in finding.problem.why


def test_flat_pictures_do_not_look_alike(planted: Any) -> None:
    for place in ((0, "train"), (0, "val")):
        Image.new("RGB", (90, 60), (40, 40, 40 + (place[1] == "val"))).save(planted.path(*place))
    assert planted.examine(decode=True).findings == ()


def test_classes_of_one_name_in_two_spellings_are_found(planted: Any) -> None:
    for document in planted.documents.values():
        document["categories"][1]["name"] = "Cell "
    findings = planted.examine().findings
    assert [finding.problem.rule for finding in findings] == ["class-named-twice"] * 2
    assert "'cell' (15 objects)" in findings[0].problem.why


def test_a_class_without_objects_is_found_in_train(planted: Any) -> None:
    for document in planted.documents.values():
        document["categories"].append({"id": 3, "name": "stone"})
    assert "'stone' (category 3)" in only(planted.examine().findings, "class-without-objects").problem.why


def test_a_class_with_few_objects_is_found_in_train(planted: Any) -> None:
    planted.documents["train"]["annotations"] = [
        row for row in planted.documents["train"]["annotations"] if row["image_id"] > 2
    ]
    for row in planted.documents["train"]["annotations"]:
        row["category_id"] = 2 if row["image_id"] == 3 else 1
    finding = only(planted.examine().findings, "few-objects-of-class")
    assert "1 of 2 classes" in finding.problem.why
    assert "'seed' 6" in finding.problem.why


def test_train_and_val_with_other_classes_are_refused(planted: Any) -> None:
    planted.documents["val"]["categories"][1]["name"] = "stone"
    diagnosis = planted.examine()
    finding = only(diagnosis.findings, "classes-differ")
    assert finding.problem.outcome is Outcome.FATAL
    assert "only train has 2 'seed'; only val has 2 'stone'" in finding.problem.why
    assert diagnosis.refused


def test_objects_that_no_anchor_fits_are_counted(planted: Any) -> None:
    model = ModelFit("coarse", (64.0, 128.0), (1.0,), 60, 90, "modern", 100)
    findings = planted.examine(model=model).findings
    assert [finding.problem.rule for finding in findings] == ["anchors-miss-objects"] * 2
    assert "30 of 30 objects (100.0 %) overlap no anchor of coarse by half: 30 are smaller" in findings[0].problem.why
    model = ModelFit("fine", (32.0, 64.0, 128.0), (0.5, 1.0, 2.0), 240, 360, "modern", 100)
    assert planted.examine(model=model).findings == ()  # they are seen four times as large


def test_a_picture_with_more_objects_than_detections_count_is_found(planted: Any) -> None:
    rows = planted.documents["val"]["annotations"]
    for number in range(95):
        x, y = number % 15 * 6, number // 15 * 6
        rows.append({**rows[0], "id": 500 + number, "segmentation": [[x, y, x + 4, y, x + 4, y + 4, x, y + 4]]})
        rows[-1].update(bbox=[x, y, 4, 4], area=16)
    model = ModelFit("any", (4.0, 8.0, 16.0, 32.0), (0.5, 1.0, 2.0), 60, 90, "modern", 50)
    finding = only(planted.examine(model=model).findings, "more-objects-than-detections")
    assert (finding.part, finding.problem.image_id) == ("val", 6)
    assert "101 objects, more than the 100 detections that COCO's" in finding.problem.why
    assert "and the 50 that any gives" in finding.problem.why


def test_what_is_found_at_reading_is_shown_with_its_picture(planted: Any) -> None:
    planted.annotation(0)["segmentation"] = [[10, 10, 20, 10, 15, float("inf")]]
    planted.annotation(1)["category_id"] = 77
    planted.annotation(2)["id"] = planted.annotation(3)["id"]
    planted.picture(3)["file_name"] = "gone.png"
    findings = {finding.problem.rule: finding for finding in planted.examine().findings}
    assert set(findings) == {"polygon-invalid", "category-unknown", "annotation-id-repeated", "picture-missing"}
    assert not findings["polygon-invalid"].can_be_drawn
    assert findings["category-unknown"].can_be_drawn
    assert findings["category-unknown"].outlines[0].tolist() == [[50, 5], [70, 5], [70, 45], [50, 45]]
    assert findings["annotation-id-repeated"].objects == (1,)  # two of the picture's rows are left out
    assert findings["category-unknown"].problem.place == "annotation 11 in 1.png"
    assert findings["picture-missing"].image is None


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"images": [], "annotations": [], "categories": []})])
def test_a_part_that_cannot_be_read_hides_nothing_of_the_other(planted: Any, text: str) -> None:
    planted.annotation(0, "val")["area"] = 1
    planted.write()
    planted.write = lambda: (planted.root / "train.json").write_text(text)
    diagnosis = planted.examine()
    assert [finding.problem.outcome for finding in diagnosis.findings] == [Outcome.FATAL, Outcome.WARN]
    assert [part.name for part in diagnosis.parts] == ["val"]
    assert diagnosis.refused


def test_stray_pixels_are_those_that_all_neighbours_tell(planted: Any) -> None:
    draw = np.random.default_rng(5)
    for turn in range(8):
        mask = draw.random((60, 90)) < 0.06
        padded = np.pad(mask, 1).astype(int)
        around = sum(padded[1 + y : 61 + y, 1 + x : 91 + x] for y in (-1, 0, 1) for x in (-1, 0, 1))
        stray = mask & (around == 1)
        planted.annotation(turn)["segmentation"] = dict(encode(mask))
        findings = [finding for finding in planted.examine().findings if finding.problem.rule == "one-pixel-part"]
        assert f"and {stray.sum() - 1} more" in findings[turn].problem.why
