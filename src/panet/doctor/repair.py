"""A data set's annotations without what can be corrected or cannot be used; every change is told."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from panet.data.annotations import AnnotationTable, ImageAnnotations
from panet.data.findings import name_row
from panet.data.images import printable
from panet.data.objects import read_object
from panet.data.problems import Outcome, RowError
from panet.data.records import ImageRecord
from panet.doctor.objects import areas_off, boxes_off, own_boxes
from panet.doctor.parts import Finding, Part
from panet.doctor.swapped import annotations_of, find_surely_swapped
from panet.structures import Size

__all__ = ["Change", "repair"]

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One difference between the file and the corrected one.

    Args:
        rule: the finding that caused it.
        place: "annotation 4711 in a.png", "image 3"; empty: the file as a whole.
        change: what was done.
    """

    rule: str
    place: str
    change: str

    def __str__(self) -> str:
        return ": ".join(text for text in (self.place, self.change) if text)


class _Measured(NamedTuple):
    """Box [x, y, width, height] and area of a mask, and whether the stored ones are off."""

    box: list[int]
    area: int
    box_is_off: bool
    area_is_off: bool


def repair(part: Part, findings: Sequence[Finding]) -> tuple[dict[str, Any], list[Change]]:
    """Correct boxes, areas and sizes; leave out duplicates and what cannot be used; renumber ids where they must be.

    Args:
        part: it is not changed.
        findings: of the diagnosis, those of other parts too.
    Returns:
        the COCO document, and the changes. Masks, classes and everything else are as they were.
    """
    own = [finding for finding in findings if finding.part == part.name]
    changes: list[Change] = []
    swapped = find_surely_swapped(part, own)
    refused = {finding.problem.image_id for finding in own if finding.problem.outcome is Outcome.DROP_IMG}
    images = list(_correct_images(part, own, refused, swapped, changes))
    rows = _correct_objects(part, own, refused, changes)
    for number, size in swapped.items():
        rows |= _read_again(part, number, size, changes)
    _tell_left_out(own, swapped, changes)
    annotations = [rows[place] for place in sorted(rows)]
    for key, value in (("area", "that of the mask"), ("iscrowd", "0")):  # keys that other tools stop without
        num_missing = sum(part.document["annotations"][place].get(key) is None for place in rows)
        if num_missing:
            changes.append(Change(f"{key}-missing", "", f"{key} of {num_missing} annotations: none -> {value}"))
    _renumber(annotations, changes)
    rest = {key: _valid(value) for key, value in part.document.items() if key not in ("images", "annotations")}
    return {**rest, "images": images, "annotations": annotations}, changes


def _correct_images(
    part: Part, findings: Iterable[Finding], refused: set[Any], swapped: Mapping[Any, Size], changes: list[Change]
) -> Iterator[Row]:
    unsized = {finding.problem.image_id for finding in findings if finding.problem.rule == "size-missing"}
    for number, row in part.image_rows.items():
        kept = _copy(row)
        name = printable(f"image {number}")
        if number in swapped:
            kept["height"], kept["width"] = swapped[number]
            change = f"{row['width']} x {row['height']} px -> {kept['width']} x {kept['height']} px"
            changes.append(Change("size-swapped", name, change))
        elif number in refused or number not in part.places:
            continue
        elif number in unsized:
            record = part.dataset.images[part.places[number]]
            kept["height"], kept["width"] = record.height, record.width
            changes.append(Change("size-missing", name, f"no size -> {record.width} x {record.height} px"))
        yield kept


def _correct_objects(
    part: Part, findings: Iterable[Finding], refused: set[Any], changes: list[Change]
) -> dict[int, Row]:
    """Give the rows that stay, by their places in the file."""
    duplicates = {(f.image, f.objects[0]): f for f in findings if f.problem.rule == "duplicate-object"}
    rows: dict[int, Row] = {}
    for image, record in enumerate(part.dataset.images):
        if record.id in refused:
            continue
        objects = part.dataset.annotations[image]
        measured = _measure(objects)
        for i, (place, row) in enumerate(zip(objects.rows.tolist(), part.rows(image), strict=True)):
            duplicate = duplicates.get((image, i))
            if duplicate is not None:
                changes.append(Change("duplicate-object", duplicate.problem.place, "left out; the earlier one stays"))
                continue
            rows[place] = _correct(row, place, record.file_name, measured[i], changes)
    return rows


def _measure(objects: ImageAnnotations) -> list[_Measured]:
    boxes, areas = own_boxes(objects).astype(int).tolist(), objects.areas.tolist()
    wrong = boxes_off(objects).tolist(), areas_off(objects).tolist()
    return [_Measured(*row) for row in zip(boxes, areas, *wrong, strict=True)]


def _correct(row: Mapping[str, Any], place: int, picture: str, mask: _Measured, changes: list[Change]) -> Row:
    """Copy a row, with the box and area of its mask where its own are missing or wrong."""
    kept = _copy(row)
    name = f"{name_row('annotations', place, row)} in {printable(picture)}"
    if row.get("bbox") is None or mask.box_is_off:
        kept["bbox"] = mask.box
        rule = "box-missing" if row.get("bbox") is None else "box-not-the-masks"
        changes.append(Change(rule, name, f"box {row.get('bbox')} -> {kept['bbox']}"))
    if row.get("area") is not None and mask.area_is_off:
        kept["area"] = mask.area
        changes.append(Change("area-not-the-masks", name, f"area {row['area']} -> {kept['area']}"))
    if row.get("area") is None:
        kept["area"] = mask.area
    if row.get("iscrowd") is None:
        kept["iscrowd"] = 0
    segmentation = row["segmentation"]
    if isinstance(segmentation, list) and any(len(polygon) < 6 for polygon in segmentation):
        kept["segmentation"] = [polygon for polygon in segmentation if len(polygon) >= 6]
        left_out = len(segmentation) - len(kept["segmentation"])
        changes.append(Change("polygon-part-left-out", name, f"{left_out} polygons of fewer than 3 points left out"))
    return kept


def _read_again(part: Part, number: int | str, size: Size, changes: list[Change]) -> dict[int, Row]:
    """Check the annotations of a picture anew that has another size now; give those that stay."""
    file_name = part.image_rows[number]["file_name"]
    record = ImageRecord(number, file_name, part.dataset.images.folder / file_name, *size)
    labels = {category: label for label, category in enumerate(part.dataset.label_map.category_ids, start=1)}
    kept: dict[int, Row] = {}
    for place, row in annotations_of(part, number).items():
        try:
            found = read_object(row, record, labels, lambda *_: None)
        except RowError as error:
            changes.append(Change(error.rule, name_row("annotations", place, row), f"left out: {error}"))
            continue
        objects = AnnotationTable([[found]], [size])[0]
        kept[place] = _correct(row, place, file_name, _measure(objects)[0], changes)
    return kept


def _tell_left_out(findings: Iterable[Finding], swapped: Mapping[Any, Size], changes: list[Change]) -> None:
    for problem in (finding.problem for finding in findings):
        if problem.outcome is Outcome.DROP_ANN:
            changes.append(Change(problem.rule, problem.place, f"left out: {problem.why}"))
        elif problem.outcome is Outcome.DROP_IMG and problem.image_id not in swapped:
            changes.append(Change(problem.rule, problem.place, f"left out with its annotations: {problem.why}"))


def _renumber(annotations: Sequence[Row], changes: list[Change]) -> None:
    """Number the annotations 1, 2, 3 ... if an id is missing, repeated, 0 or no number."""
    ids = [row.get("id") for row in annotations]
    if len(set(map(str, ids))) == len(ids) and all(type(number) is int and number > 0 for number in ids):
        return
    for number, row in enumerate(annotations, start=1):
        row["id"] = number
    changes.append(Change("annotation-ids", "", f"all annotations numbered anew, 1 to {len(ids)}"))


def _copy(row: Mapping[str, Any]) -> Row:
    """Copy a row; its polygons are checked already, and are most of it. An RLE may hold keys that nobody looked at."""
    return {
        key: value if key == "segmentation" and isinstance(value, list) else _valid(value) for key, value in row.items()
    }


def _valid(value: Any) -> Any:
    """Copy a JSON value; NaN and infinity, which JSON does not have, become null."""
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_valid(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
