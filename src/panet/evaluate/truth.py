"""What a score is made of, checked and put in order: the ground truth, and the results against it.

The evaluator believes all it is given: an annotation with id 0 counts as never found, a result of an unknown class
vanishes, a NaN sorts anywhere. Here each of these is put right or refused by name.
"""

import math
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from panet.data.images import printable
from panet.data.objects import MAX_AREA
from panet.data.segmentation import read_segmentation
from panet.errors import DataError
from panet.ops import rle
from panet.structures import Size

__all__ = ["Truth", "check_results", "read_truth"]

_LARGEST_SIDE = math.sqrt(MAX_AREA)  # px
_LARGEST_NUMBER = sys.float_info.max


@dataclass(frozen=True)
class Truth:
    """Ground truth with pictures, classes and annotations renumbered 1..N in the order of their ids.

    Args:
        document: the COCO dict with the new numbers.
        images: picture id -> number.
        sizes: number - 1 -> (height, width), or None where the document has none.
        categories: category id -> number.
        names: number - 1 -> class name.
    """

    document: dict[str, Any]
    images: dict[Hashable, int]
    sizes: tuple[Size | None, ...]
    categories: dict[Hashable, int]
    names: tuple[str, ...]


def read_truth(document: Mapping[str, Any], kind: str) -> Truth:
    """Renumber a COCO document; fill missing iscrowd, area, bbox.

    Args:
        document: with images, annotations, categories.
        kind: "bbox", or "segm": then every annotation needs a mask.

    Raises:
        DataError: names the annotation that cannot be used.
    """
    images, categories = (_sorted_by_id(document, key) for key in ("images", "categories"))
    truth = Truth(
        document={"images": [], "annotations": [], "categories": []},
        images={image["id"]: number for number, image in enumerate(images, 1)},
        sizes=tuple(_size(image) for image in images),
        categories={category["id"]: number for number, category in enumerate(categories, 1)},
        names=tuple(str(category.get("name", category["id"])) for category in categories),
    )
    for number, size in enumerate(truth.sizes, 1):
        height, width = size or (1, 1)
        truth.document["images"].append({"id": number, "height": height, "width": width})
    truth.document["categories"] = [{"id": number, "name": name} for number, name in enumerate(truth.names, 1)]
    annotations = []
    for number, annotation in enumerate(_rows(document, "annotations"), 1):
        place = printable(f"annotation {annotation.get('id', f'number {number}')!s:.60}")
        annotations.append(_read_annotation(annotation, truth, kind, place))
    annotations.sort(key=_place)
    truth.document["annotations"] = [{"id": number, **each} for number, each in enumerate(annotations, 1)]
    return truth


def _rows(document: Any, key: str) -> list[Mapping[str, Any]]:
    rows = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"the ground truth has no list of {key}: expected COCO instance annotations")
    return rows


def _sorted_by_id(document: Any, key: str) -> list[Mapping[str, Any]]:
    """Give the rows in the order in which COCO counts them, which decides between equal scores."""
    rows = _rows(document, key)
    ids = [row.get("id") for row in rows]
    if not all(map(_is_id, ids)) or len(set(ids)) != len(ids):
        raise DataError(f"the ground truth's {key} must have ids of their own: an integer or a text each")
    return sorted(rows, key=lambda row: (type(row["id"]).__name__, row["id"]))


def _is_id(value: object) -> TypeGuard[int | str]:
    return type(value) in (int, str)


def _size(image: Mapping[str, Any]) -> Size | None:
    sides = [image.get(key) for key in ("height", "width")]
    whole = [int(side) for side in sides if _is_number(side) and side == int(side) >= 1]
    if len(whole) < 2:
        return None
    height, width = whole
    return (height, width) if height * width <= rle.MAX_TILED_PIXELS else None


def _read_annotation(annotation: Mapping[str, Any], truth: Truth, kind: str, place: str) -> dict[str, Any]:
    image, category = _find_numbers(annotation, truth, place)
    box, area, mask = annotation.get("bbox"), annotation.get("area"), None
    if kind == "segm" or box is None or area is None:
        mask = (
            _read_mask(annotation.get("segmentation"), truth.sizes[image - 1], place) if _has_mask(annotation) else None
        )
    if kind == "segm" and mask is None:
        raise DataError(f"{place}: has no segmentation: masks cannot be scored without it")
    if box is None:
        if mask is None:
            raise DataError(f"{place}: has neither bbox nor segmentation: remove it")
        x1, y1, x2, y2 = rle.to_box(mask)
        box = [x1, y1, x2 - x1, y2 - y1]
    stated, box = box, _read_box(box, place)
    if min(stated[2:]) < 0:
        raise DataError(f"{place}: bbox is {stated!r:.80}: a side is below 0: expected [x, y, width, height]")
    if area is None:
        area = rle.area(mask) if mask is not None else box[2] * box[3]
    if not (_is_number(area) and 0 <= area <= MAX_AREA):
        raise DataError(f"{place}: area is {area!r:.60}: expected a number of px, 0 to {MAX_AREA:.0f}")
    crowd = 0 if annotation.get("iscrowd") is None else annotation["iscrowd"]
    if type(crowd) not in (int, bool, float) or crowd not in (0, 1):
        raise DataError(f"{place}: iscrowd is {crowd!r:.60}: expected 0 or 1")
    plain = {"image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": int(crowd)}
    return plain if mask is None else {**plain, "segmentation": mask}


def _place(annotation: Mapping[str, Any]) -> tuple[Any, ...]:
    """An order that the file's has no part in: it decides which of two objects a result that fits both alike takes."""
    keys = ("image_id", "category_id", "bbox", "area", "iscrowd")
    return *(annotation[key] for key in keys), annotation.get("segmentation", {}).get("counts", "")


def check_results(results: Sequence[Any], truth: Truth, kind: str) -> list[dict[str, Any]]:
    """Check results and put them in an order of their own, so that the score does not depend on the list's.

    Args:
        results: COCO results with the document's ids.
        truth: what they are scored against.
        kind: "bbox" or "segm"; only what it needs is looked at and kept. (With both, the evaluator would take the
            box's area for the mask's.)
    Returns:
        The results with the truth's numbers, best first in each picture and class.

    Raises:
        DataError: names the result, counted from 1, that cannot be used.
    """
    checked = [_check_result(result, truth, kind, f"result {number}") for number, result in enumerate(results, 1)]
    checked.sort(key=_rank)
    return checked


def _rank(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Best first in each picture and class, of equal scores the larger; the rest of the key is arbitrary, but fixed."""
    place = (result["image_id"], result["category_id"], -result["score"])
    if "bbox" in result:
        return *place, -result["bbox"][2] * result["bbox"][3], result["bbox"]
    return *place, -rle.area(result["segmentation"]), result["segmentation"]["counts"]


def _check_result(result: Any, truth: Truth, kind: str, place: str) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        raise DataError(f"{place}: is a {type(result).__name__}: expected an object with image_id, category_id, score")
    image, category = _find_numbers(result, truth, place)
    score = result.get("score")
    if not (_is_number(score) and 0 <= score <= 1):
        raise DataError(f"{place}: score is {score!r:.60}: expected a number from 0 to 1")
    plain = {"image_id": image, "category_id": category, "score": float(score)}
    if kind == "segm":
        segmentation = result.get("segmentation")
        if segmentation is None:
            raise DataError(f"{place}: has no segmentation, which others have: give it to all results, or to none")
        return {**plain, "segmentation": _read_mask(segmentation, truth.sizes[image - 1], place)}
    return {**plain, "bbox": _read_box(result.get("bbox"), place)}


def _find_numbers(item: Mapping[str, Any], truth: Truth, place: str) -> tuple[int, int]:
    image = _find_number(item.get("image_id"), truth.images, f"{place}: image_id")
    return image, _find_number(item.get("category_id"), truth.categories, f"{place}: category_id")


def _find_number(identity: Any, known: Mapping[Hashable, int], place: str) -> int:
    number = known.get(identity) if _is_id(identity) else None
    if number is not None:
        return number
    twin = None
    if isinstance(identity, int | float | str) and not isinstance(identity, bool):
        twin = next((other for other in known if other == identity or str(other) == str(identity)), None)
    if twin is not None:
        raise DataError(
            f"{place} is {identity!r:.60}, a {type(identity).__name__}: the data has {twin!r:.60}; write it so"
        )
    raise DataError(f"{place} {identity!r:.60} is not in the data: {_examples(known)}")


def _examples(known: Iterable[Hashable]) -> str:
    names = [f"{identity!r:.60}" for identity in known]
    return f"it has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _read_box(box: Any, place: str) -> list[float]:
    """Check (x, y, w, h); a side below 0 becomes 0: a box that overlaps nothing, and counts, as one that is huge."""
    if not (isinstance(box, Sequence) and len(box) == 4 and all(_is_number(side) for side in box)):
        raise DataError(f"{place}: bbox is {box!r:.80}: expected [x, y, width, height], four finite numbers")
    x, y, width, height = (float(side) for side in box)
    return [x, y, *(min(max(side, 0.0), _LARGEST_SIDE) for side in (width, height))]


def _has_mask(annotation: Mapping[str, Any]) -> bool:
    return bool(annotation.get("segmentation"))


def _read_mask(segmentation: Any, size: Size | None, place: str) -> rle.Rle:
    if size is None:
        raise DataError(
            f"{place}: its picture has no height and width in the data, or not whole numbers of px, or more than "
            f"{rle.MAX_TILED_PIXELS} pixels: masks need them"
        )
    try:
        return rle.write_positions(read_segmentation(segmentation, size), *size)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _is_number(value: object) -> TypeGuard[float]:
    """Tell a finite number from anything else, from bools and from integers that no float holds."""
    return type(value) in (int, float) and -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER  # type: ignore[operator]  # a number
