"""One row of `annotations` in a COCO file -> one checked object. An error says what is wrong; the caller says where."""

from collections.abc import Mapping

from panet.data.annotations import ObjectRecord
from panet.data.problems import RowError
from panet.data.records import ImageRecord, Note, is_finite
from panet.data.segmentation import read_segmentation
from panet.ops.rle import Positions, Rle, measure_area, measure_box, write_positions
from panet.structures import Size

__all__ = ["MAX_AREA", "read_object"]

MAX_AREA = 1e10
"""px; COCO does not count what has a larger one, be it an object or a false positive."""

_LEAST_OVERLAP = 0.5  # IoU of a box with its mask's; a little less than 1 is the drawing of polygons
_NEAR = 1.0  # px

_Box = tuple[float, float, float, float]


def read_object(row: Mapping[str, object], image: ImageRecord, labels: Mapping[int, int], note: Note) -> ObjectRecord:
    """Check a row of `annotations` of a known picture.

    Args:
        row: of the file.
        image: the picture it is on.
        labels: category id -> label.
        note: is told of a box that is missing or is not the mask's.
    Raises:
        RowError: the annotation cannot be used.
    """
    category = row.get("category_id")
    if type(category) is not int or category not in labels:
        hint = "; write it as a number" if type(category) is str else ""
        raise RowError("category-unknown", f"category_id {category!r:.60} is not among the categories{hint}")
    crowd = 0 if row.get("iscrowd") is None else row["iscrowd"]
    if type(crowd) not in (int, bool, float) or crowd not in (0, 1):
        raise RowError("crowd-not-a-flag", f"iscrowd is {crowd!r:.60}; it must be 0 or 1")
    stored_box = _read_box(row.get("bbox"))
    stored_area = row.get("area")
    if stored_area is not None and not (is_finite(stored_area) and 0 <= stored_area <= MAX_AREA):
        why = f"area is {stored_area!r:.60}; it must be a number of px, 0 to {MAX_AREA:.0f}"
        raise RowError("area-not-a-number", why)

    segmentation = row.get("segmentation")
    positions = read_segmentation(segmentation, (image.height, image.width), note)
    num_pixels = measure_area(positions)
    if num_pixels == 0:
        raise RowError("mask-without-area", "the mask has no area inside the picture; remove the annotation")
    x1, y1, x2, y2 = measure_box(positions, image.height)
    box = (float(x1), float(y1), float(x2 - x1), float(y2 - y1))
    if stored_box is None:
        note("box-missing", f"has no bbox: {list(map(int, box))} is the mask's")
    else:
        _compare(stored_box, box, (image.height, image.width), note)
    return ObjectRecord(
        label=labels[category],
        crowd=bool(crowd),
        rle=_encode(segmentation, positions, (image.height, image.width)),
        box=(x1, y1, x2, y2),
        area=num_pixels,
        stored_box=stored_box or box,
        stored_area=float(num_pixels if stored_area is None else stored_area),
    )


def _encode(segmentation: object, positions: Positions, size: Size) -> Rle:
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return {"size": list(size), "counts": segmentation["counts"]}  # writing it again would cost as much as reading
    return write_positions(positions, *size)


def _read_box(box: object) -> _Box | None:
    """Give (x, y, w, h), or None where there is no box."""
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(is_finite(number) for number in box):
        raise RowError("box-not-numbers", f"box {box!r:.80} is not four finite numbers [x, y, width, height]")
    x, y, width, height = (float(number) for number in box)
    if width <= 0 or height <= 0:
        raise RowError("box-without-area", f"box {box!r:.80} has no area; remove the annotation")
    return x, y, width, height


def _compare(stored: _Box, box: _Box, size: Size, note: Note) -> None:
    """Warn of a box that, inside the picture, is not the mask's; `box` is."""
    (x, y, width, height), (left, top, wide, high) = stored, box
    across = min(x + width, left + wide) - max(x, left)
    down = min(y + height, top + high) - max(y, top)
    shared = max(across, 0.0) * max(down, 0.0)
    inside = max(min(x + width, size[1]) - max(x, 0.0), 0.0) * max(min(y + height, size[0]) - max(y, 0.0), 0.0)
    corners = max(abs(x - left), abs(y - top), abs(width - left - wide), abs(height - top - high))
    sides = max(abs(x - left), abs(y - top), abs(width - wide), abs(height - high))
    if corners <= _NEAR and sides > 2 * _NEAR:
        note("box-of-corners", f"bbox {list(stored)} is [x1, y1, x2, y2]; COCO wants [x, y, width, height]")
    elif shared < _LEAST_OVERLAP * (inside + wide * high - shared):
        note("box-not-the-masks", f"bbox {list(stored)} is not its mask's, {list(map(int, box))}; the mask's is used")
