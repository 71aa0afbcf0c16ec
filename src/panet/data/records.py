"""One row of a COCO file -> one checked record. An error says what is wrong; the caller says where."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from panet.data.annotations import ObjectRecord
from panet.data.images import printable
from panet.data.segmentation import read_segmentation
from panet.errors import DataError, nearest
from panet.ops.rle import MAX_PIXELS, Positions, Rle, measure_area, measure_box, write_positions
from panet.structures import Size

__all__ = ["ImageRecord", "read_image_record", "read_object"]

_LARGEST = 1e300  # NaN compares false with it


@dataclass(frozen=True)
class ImageRecord:
    """One picture: its id and name in the COCO file, where it lies, and its upright size in px."""

    id: int | str
    file_name: str
    path: Path
    height: int
    width: int


def read_image_record(row: object, folder: Path, read_size: Callable[[Path], Size]) -> ImageRecord:
    """Check a row of `images`; `read_size` gives a picture's upright (height, width) where the row does not."""
    if not isinstance(row, dict):
        raise DataError(f"is a {type(row).__name__}, not an object")
    number, file_name = row.get("id"), row.get("file_name")
    if type(number) is not int and type(number) is not str:
        raise DataError("has no id")
    if not isinstance(file_name, str) or not file_name:
        raise DataError("has no file_name")
    path = _find(file_name, folder)
    height, width = _read_side(row, "height"), _read_side(row, "width")
    if height == 0 or width == 0:
        height, width = read_size(path)
    if height * width > MAX_PIXELS:
        raise DataError(f"{width} x {height} pixels: a picture may have at most {MAX_PIXELS}; tile it first")
    return ImageRecord(number, file_name, path, height, width)


def read_object(row: Mapping[str, object], image: ImageRecord, labels: Mapping[int, int]) -> ObjectRecord:
    """Check a row of `annotations` of a known picture; `labels` maps category ids to labels."""
    category = row.get("category_id")
    if type(category) is not int or category not in labels:
        raise DataError(f"category_id {category!r:.60} is not among the categories")
    crowd = row.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise DataError(f"iscrowd is {crowd!r:.60}; it must be 0 or 1")
    stored_box = _read_box(row.get("bbox"))
    stored_area = row.get("area")
    if stored_area is not None and not (_is_finite(stored_area) and float(stored_area) >= 0):
        raise DataError(f"area is {stored_area!r:.60}; it must be a number")

    segmentation = row.get("segmentation")
    positions = read_segmentation(segmentation, (image.height, image.width))
    num_pixels = measure_area(positions)
    if num_pixels == 0:
        raise DataError("the mask has no area inside the picture; remove the annotation")
    x1, y1, x2, y2 = measure_box(positions, image.height)
    return ObjectRecord(
        label=labels[category],
        crowd=bool(crowd),
        rle=_encode(segmentation, positions, (image.height, image.width)),
        box=(x1, y1, x2, y2),
        area=num_pixels,
        stored_box=stored_box or (float(x1), float(y1), float(x2 - x1), float(y2 - y1)),
        stored_area=float(num_pixels if stored_area is None else stored_area),
    )


def _encode(segmentation: object, positions: Positions, size: Size) -> Rle:
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return {"size": list(size), "counts": segmentation["counts"]}  # writing it again would cost as much as reading
    return write_positions(positions, *size)


def _find(file_name: str, folder: Path) -> Path:
    """Give the file a name stands for, inside the folder; links are followed."""
    name = printable(file_name)
    if "://" in file_name:
        raise DataError(f"file_name {name} is an address; download the picture into the folder")
    if "\0" in file_name:
        raise DataError(f"file_name {name} holds a NUL character")
    path = Path(os.path.normpath(folder / file_name))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise DataError(f"file_name {name} leads out of {printable(folder)}; give it relative to that folder")
    if path.is_dir():
        raise DataError(f"file_name {name} is a folder")
    if not path.is_file():
        raise DataError(f"{name} is not in {printable(folder)}{_hint(path, file_name)}")
    return path


def _hint(path: Path, file_name: str) -> str:
    if path.is_symlink():
        return " (a link to nothing)"
    if "\\" in file_name:
        return "; write / instead of \\ between folders"
    try:
        same = [entry for entry in os.listdir(path.parent) if entry.lower() == path.name.lower()]
    except OSError:
        return ""
    return nearest(path.name, same)


def _read_side(row: Mapping[str, object], key: str) -> int:
    """Give a side in px; 0 where it is not stated."""
    side = row.get(key)
    if side is None:
        return 0
    if not _is_finite(side) or side != int(side) or side < 0:
        raise DataError(f"{key} is {side!r:.60}; it must be a whole number of pixels")
    return int(side)


def _read_box(box: object) -> tuple[float, float, float, float] | None:
    """Give (x, y, w, h), or None where there is no box."""
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(number) for number in box):
        raise DataError(f"box {box!r:.80} is not four finite numbers [x, y, width, height]")
    x, y, width, height = (float(number) for number in box)
    if width <= 0 or height <= 0:
        raise DataError(f"box {box} has no area; remove the annotation")
    return x, y, width, height


def _is_finite(value: object) -> TypeGuard[int | float]:
    """Tell a finite number from anything else, from bools and from integers that no float holds."""
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST  # type: ignore[operator]
