"""COCO instance JSON -> CocoDataset. Everything is checked here, once, before any picture is decoded.

All problems are collected and reported together. Masks stay encoded (RLE) and are decoded picture by picture.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from panet.data.annotations import AnnotationTable, ObjectRecord
from panet.data.documents import read_json
from panet.data.findings import Findings
from panet.data.folders import PictureFolder
from panet.data.image_table import ImageTable
from panet.data.images import printable
from panet.data.inspection import PictureSizes, inspect_picture
from panet.data.objects import read_object
from panet.data.outline import Outline, read_listed, read_outline
from panet.data.problems import BadDataError, OnBadData, Outcome, Problem, RowError, count_outcomes
from panet.data.records import ImageRecord, is_id, read_image_record
from panet.structures import LabelMap

__all__ = ["CocoDataset", "ImageRecord", "read_coco", "read_document", "read_pictures"]


@dataclass(frozen=True)
class CocoDataset:
    """Pictures with checked annotations.

    Args:
        path: the JSON file.
        images: in the file's order.
        annotations: `annotations[i]` are those of images[i], in the file's order.
        label_map: labels 1..K for the file's category ids in ascending order.
        problems: what is wrong with the file; bad items are not in the data set.
        num_listed: pictures and annotations in the file, good and bad.
    """

    path: Path
    images: ImageTable
    annotations: AnnotationTable
    label_map: LabelMap
    problems: tuple[Problem, ...] = ()
    num_listed: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def document(self) -> dict[str, Any]:
        """The COCO dict an evaluator needs, built anew at each use.

        Annotations are numbered 1..N: COCO's evaluator takes a match with id 0 for none, and a repeated id spoils it.
        Boxes and areas are the file's own, so that scores compare with others'; masks are RLE.
        """
        rows: list[dict[str, Any]] = []
        for index, image in enumerate(self.images):
            objects = self.annotations[index]
            for i, rle in enumerate(objects.masks):
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": image.id,
                        "category_id": self.label_map.category_id(int(objects.labels[i])),
                        "bbox": objects.stored_boxes[i].tolist(),
                        "area": float(objects.stored_areas[i]),
                        "iscrowd": int(objects.crowd[i]),
                        "segmentation": rle,
                    }
                )
        return {
            "images": [
                {"id": image.id, "file_name": image.file_name, "height": image.height, "width": image.width}
                for image in self.images
            ],
            "annotations": rows,
            "categories": [
                {"id": number, "name": name}
                for number, name in zip(self.label_map.category_ids, self.label_map.names, strict=True)
            ],
        }


def read_coco(
    json_path: Path, images_dir: Path, on_bad_data: OnBadData = "strict", *, decode: bool = False
) -> CocoDataset:
    """Read COCO instance annotations of the pictures in a folder.

    Any category ids (0 too) become labels 1..K in ascending order. A missing iscrowd is 0; a missing area or box is the
    mask's; a missing size is the picture's. A picture may have no object. For training, the box of an object is its
    mask's box, whatever the file says.

    Args:
        json_path: the annotations.
        images_dir: where their file names start from.
        on_bad_data: "strict" raises if an item cannot be used; "skip" leaves it out.
        decode: decode every picture: the only way to be sure that it can be.
    Raises:
        BadDataError: the file cannot be read as COCO, or items in it are bad; `.problems` lists all that was found.
    """
    json_path = Path(json_path)
    return read_document(json_path, read_json(json_path), Path(images_dir), on_bad_data, decode=decode)


def read_document(
    json_path: Path,
    document: object,
    images_dir: Path,
    on_bad_data: OnBadData = "strict",
    *,
    decode: bool = False,
    found: Sequence[Problem] = (),
) -> CocoDataset:
    """Check a COCO document that is in memory, as `read_coco` does.

    Args:
        json_path: where it comes from, for messages.
        document: as JSON gives it.
        images_dir, on_bad_data, decode: as for `read_coco`.
        found: what was wrong with items that are not in the document, or odd about some that are.

    Raises:
        BadDataError: as for `read_coco`.
    """
    findings = Findings(printable(json_path))
    findings.problems += found
    outline = read_outline(document, images_dir, findings)
    inspect = partial(inspect_picture, decode=decode)
    images = _read_images(outline.images, PictureFolder(images_dir), inspect, findings)
    objects = _read_objects(outline, images, findings)
    problems = tuple(findings.problems)
    if on_bad_data == "strict" and any(problem.outcome is not Outcome.WARN for problem in problems):
        raise BadDataError(problems)
    if not images:
        findings.stop("no-usable-picture", f"none of its {len(outline.images)} images can be used")
    sizes = [(image.height, image.width) for image in images]
    table = AnnotationTable([objects[image.id] for image in images], sizes)
    outcomes = count_outcomes(found)
    num_listed = (
        len(outline.images) + outcomes[Outcome.DROP_IMG],
        len(outline.annotations) + outcomes[Outcome.DROP_ANN],
    )
    return CocoDataset(json_path, ImageTable(images, images_dir), table, outline.label_map, problems, num_listed)


def read_pictures(json_path: Path, images_dir: Path) -> tuple[list[ImageRecord], tuple[Problem, ...]]:
    """Read the pictures alone that a COCO JSON file lists: it may lack annotations, as those of COCO's test sets do.

    Args:
        json_path: with a list of images.
        images_dir: where their file names start from.
    Returns: the pictures that can be used, and what is wrong with others or odd about some.

    Raises:
        BadDataError: the file lists no pictures, or none that can be used.
    """
    findings = Findings(printable(json_path))
    rows = read_listed(read_json(json_path), images_dir, findings)
    images = _read_images(rows, PictureFolder(images_dir), inspect_picture, findings)
    if not images:
        findings.stop("no-usable-picture", f"none of its {len(rows)} images can be used")
    return images, tuple(findings.problems)


def _read_images(
    rows: Sequence[object], folder: PictureFolder, inspect: Callable[[Path], PictureSizes], findings: Findings
) -> list[ImageRecord]:
    images: list[ImageRecord] = []
    owners: dict[Path, str] = {}
    for place, row in enumerate(rows):
        note = partial(findings.add_row, Outcome.WARN, "images", place, row)
        try:
            image = read_image_record(row, folder, inspect, note)
        except RowError as error:
            findings.add_row(Outcome.DROP_IMG, "images", place, row, error.rule, str(error))
            continue
        if image.path in owners:
            note("picture-listed-twice", f"{image.file_name} is also the picture of {owners[image.path]}")
        owners.setdefault(image.path, f"images[{place}]")
        images.append(image)
    return images


def _read_objects(
    outline: Outline, images: Sequence[ImageRecord], findings: Findings
) -> dict[int | str, list[ObjectRecord]]:
    by_id = {image.id: image for image in images}
    labels = {number: label for label, number in enumerate(outline.label_map.category_ids, start=1)}
    objects: dict[int | str, list[ObjectRecord]] = {image.id: [] for image in images}
    met: set[int | str] = set()
    for place, row in enumerate(outline.annotations):
        note = partial(findings.add_row, Outcome.WARN, "annotations", place, row)
        try:
            entries, image_id = _read_owner(row, outline.image_ids)
            if image_id not in by_id:
                continue  # the picture's own problem is reported already
            record = read_object(entries, by_id[image_id], labels, note)
            objects[image_id].append(record._replace(row=place))
        except RowError as error:
            findings.add_row(Outcome.DROP_ANN, "annotations", place, row, error.rule, str(error))
            continue
        number = entries.get("id")
        if not is_id(number):
            note("annotation-without-id", "has no id; it gets one of its own")
        elif number in met:
            note("annotation-id-repeated", "another annotation has this id too; each gets one of its own")
        else:
            met.add(number)
    return objects


def _read_owner(row: object, image_ids: Collection[int | str]) -> tuple[dict[str, Any], int | str]:
    """Give the row as an object, and the id of the picture that it is on."""
    if not isinstance(row, dict):
        raise RowError("annotation-not-object", f"is a {type(row).__name__}, not an object")
    image_id = row.get("image_id")
    if not is_id(image_id) or image_id not in image_ids:
        why = f"image_id {image_id!r:.60} is not among the images{_hint(image_id, image_ids)}"
        raise RowError("image-unknown", why)
    return row, image_id


def _hint(number: object, image_ids: Collection[int | str]) -> str:
    """Say how a picture's id is written that is there as another type."""
    if isinstance(number, str) and number.isdecimal() and len(number) < 20 and int(number) in image_ids:
        return "; write it as a number"
    if type(number) is float and number in image_ids:
        return "; write it without a point"
    return "; write it as a text" if type(number) is int and str(number) in image_ids else ""
