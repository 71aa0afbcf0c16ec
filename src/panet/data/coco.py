"""COCO instance JSON -> CocoDataset. Everything is checked here, once, before any picture is opened.

All problems are collected and reported together. Masks stay encoded (RLE) and are decoded picture by picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panet.data.annotations import AnnotationTable, ObjectRecord
from panet.data.documents import read_json
from panet.data.image_table import ImageTable
from panet.data.images import printable, read_size
from panet.data.problems import Outcome, Problem
from panet.data.records import ImageRecord, read_image_record, read_object
from panet.errors import DataError
from panet.structures import LabelMap

__all__ = ["CocoDataset", "ImageRecord", "read_coco", "read_document"]


@dataclass(frozen=True)
class CocoDataset:
    """Pictures with checked annotations.

    Args:
        path: the JSON file.
        images: in the file's order.
        annotations: `annotations[i]` are those of images[i], in the file's order.
        label_map: labels 1..K for the file's category ids in ascending order.
    """

    path: Path
    images: ImageTable
    annotations: AnnotationTable
    label_map: LabelMap

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


def read_coco(json_path: Path, images_dir: Path) -> CocoDataset:
    """Read COCO instance annotations of the pictures in a folder.

    Any category ids (0 too) become labels 1..K in ascending order. A missing iscrowd is 0; a missing area or box is the
    mask's; a missing size is the picture's. A picture may have no object. For training, the box of an object is its
    mask's box, whatever the file says.

    Raises:
        DataError: the file cannot be read as COCO, or items in it are bad; `.problems` lists all of them.
    """
    json_path = Path(json_path)
    return read_document(json_path, read_json(json_path), Path(images_dir))


def read_document(json_path: Path, document: object, images_dir: Path, found: Sequence[Problem] = ()) -> CocoDataset:
    """Check a COCO document that is in memory, as `read_coco` does.

    Args:
        json_path: where it comes from, for messages.
        document: as JSON gives it.
        images_dir: the folder its file names start from.
        found: what was wrong with items that were left out of it; told together with the rest.

    Raises:
        DataError: as for `read_coco`.
    """
    name = printable(json_path)
    if not isinstance(document, dict):
        raise DataError(f"{name}: the top level is a {type(document).__name__}; COCO needs an object")
    rows = {key: _rows(name, document, key) for key in ("images", "annotations", "categories")}
    label_map = _read_categories(name, rows["categories"])
    if not images_dir.is_dir():
        raise DataError(f"{name}: its folder of pictures {printable(images_dir)} does not exist")
    if not rows["images"]:
        raise DataError(f"{name}: lists no images")

    problems = [str(problem) for problem in found if problem.outcome is not Outcome.WARN]
    images = _read_images(name, rows["images"], images_dir, problems)
    known = {row["id"] for row in rows["images"] if isinstance(row, dict) and _is_id(row.get("id"))}
    objects = _read_objects(name, rows["annotations"], images, known, label_map, problems)
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise DataError(problems[0] + more, problems)
    sizes = [(image.height, image.width) for image in images]
    table = AnnotationTable([objects[image.id] for image in images], sizes)
    return CocoDataset(json_path, ImageTable(images, images_dir), table, label_map)


def _rows(name: str, document: Mapping[str, object], key: str) -> Sequence[object]:
    rows = document.get(key)
    if not isinstance(rows, list):
        what = f"{key!r} is a {type(rows).__name__}" if key in document else f"has no {key!r}"
        raise DataError(f"{name}: {what}; COCO instance annotations need a list of them")
    return rows


def _is_id(value: object) -> bool:
    return type(value) in (int, str)


def _read_categories(name: str, rows: Sequence[object]) -> LabelMap:
    names: dict[int, str] = {}
    for place, row in enumerate(rows):
        where = f"{name}: categories[{place}]"
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            raise DataError(f"{where}: has no integer id")
        if not isinstance(row.get("name"), str):
            raise DataError(f"{where}: category {row['id']} has no name")
        if row["id"] in names:
            raise DataError(f"{where}: id {row['id']} is already {names[row['id']]!r}; ids must differ")
        names[row["id"]] = row["name"]
    if not names:
        raise DataError(f"{name}: lists no categories; there is nothing to tell apart")
    ids = sorted(names)
    return LabelMap(tuple(ids), tuple(names[number] for number in ids))


def _read_images(name: str, rows: Sequence[object], folder: Path, problems: list[str]) -> list[ImageRecord]:
    images: dict[int | str, ImageRecord] = {}
    for place, row in enumerate(rows):
        label = f"image {row['id']}" if isinstance(row, dict) and _is_id(row.get("id")) else f"images[{place}]"
        try:
            image = read_image_record(row, folder, read_size)
            if image.id in images:
                raise DataError(f"its id is also that of {printable(images[image.id].file_name)}; ids must differ")
            images[image.id] = image
        except DataError as error:
            problems.append(f"{name}: {printable(label)}: {error}")
    return list(images.values())


def _read_objects(
    name: str,
    rows: Sequence[object],
    images: Sequence[ImageRecord],
    known: set[int | str],
    label_map: LabelMap,
    problems: list[str],
) -> dict[int | str, list[ObjectRecord]]:
    by_id = {image.id: image for image in images}
    labels = {number: label for label, number in enumerate(label_map.category_ids, start=1)}
    objects: dict[int | str, list[ObjectRecord]] = {image.id: [] for image in images}
    for place, row in enumerate(rows):
        stated = row.get("id") if isinstance(row, dict) else None
        label = f"annotation {stated}" if _is_id(stated) else f"annotations[{place}]"
        try:
            if not isinstance(row, dict):
                raise DataError(f"is a {type(row).__name__}, not an object")
            image_id = row.get("image_id")
            if not _is_id(image_id) or image_id not in known:
                raise DataError(f"image_id {image_id!r:.60} is not among the images")
            if image_id in by_id:  # else the picture's own problem is reported already
                objects[image_id].append(read_object(row, by_id[image_id], labels))
        except DataError as error:
            problems.append(f"{name}: {printable(label)}: {error}")
    return objects
