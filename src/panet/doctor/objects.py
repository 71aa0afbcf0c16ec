"""Stored box and area against the mask; objects that are annotated twice."""

from collections.abc import Container, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from panet.data.annotations import ImageAnnotations
from panet.doctor.parts import Finding, Part
from panet.ops.rle import decode_window

__all__ = ["areas_off", "boxes_off", "find_duplicates", "find_wrong_areas", "find_wrong_boxes", "own_boxes"]

# A polygon's own box may differ from that of its pixels by a pixel on every side, hence a width by two.
_BOX_TOLERANCE = 2.0  # px, of x, y, width and height
_FAR = 1e9  # px; a box beyond it is wrong whatever it is, and areas stay finite
_LEAST_OVERLAP = 0.5  # IoU of the two boxes, as when the file is read
# Counted pixels and a polygon's area differ along the outline: by a share of a small object, by few pixels.
_AREA_SHARE, _AREA_PIXELS = 0.05, 4.0
_SAME = 0.9  # IoU of masks: two people draw one object with about this
_MOST_PAIRS = 30_000  # of masks of a picture that are compared; what is beyond is left alone


def own_boxes(objects: ImageAnnotations) -> NDArray[np.float64]:
    """Give (G, 4) x, y, width, height of the masks."""
    boxes = objects.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def boxes_off(objects: ImageAnnotations) -> NDArray[np.bool_]:
    """Tell of which objects x, y, width or height as stored is off by more than 2 px, or half of the box."""
    own, stored = own_boxes(objects), np.clip(objects.stored_boxes, -_FAR, _FAR)
    sides = np.minimum(own[:, :2] + own[:, 2:], stored[:, :2] + stored[:, 2:]) - np.maximum(own[:, :2], stored[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    apart = shared < _LEAST_OVERLAP * (own[:, 2:].prod(axis=1) + stored[:, 2:].prod(axis=1) - shared)
    off: NDArray[np.bool_] = (np.abs(stored - own) > _BOX_TOLERANCE).any(axis=1) | apart
    return off


def areas_off(objects: ImageAnnotations) -> NDArray[np.bool_]:
    """Tell of which objects the stored area is off by more than 5 % and 4 px; a crowd's is never used."""
    off = np.abs(objects.stored_areas - objects.areas)
    wrong: NDArray[np.bool_] = (off > _AREA_PIXELS) & (off > _AREA_SHARE * objects.areas) & ~objects.crowd
    return wrong


def find_wrong_boxes(part: Part) -> Iterator[Finding]:
    """Find `boxes_off`; those of corners are found when the file is read, and not named again."""
    noted = {(p.place, p.image_id) for p in part.dataset.problems if p.rule == "box-of-corners"}
    for image in range(len(part)):
        objects = part.dataset.annotations[image]
        own = own_boxes(objects)
        for i in np.flatnonzero(boxes_off(objects)).tolist():
            stored = objects.stored_boxes[i]
            why = f"box {_numbers(stored)} is stored, the mask's is {_numbers(own[i])}{_guess(stored, own[i])}"
            finding = part.find("box-not-the-masks", why, image, [i])
            if (finding.problem.place.partition(" in ")[0], finding.problem.image_id) not in noted:
                yield finding


def find_wrong_areas(part: Part) -> Iterator[Finding]:
    """Find `areas_off`."""
    for image in range(len(part)):
        objects = part.dataset.annotations[image]
        for i in np.flatnonzero(areas_off(objects)).tolist():
            stored, own = float(objects.stored_areas[i]), int(objects.areas[i])
            why = f"area {stored:.6g} px is stored, the mask has {own} px ({100 * (stored / own - 1):+.1f} %)"
            yield part.find("area-not-the-masks", why, image, [i])


def find_duplicates(part: Part) -> Iterator[Finding]:
    """Find pairs of objects of a picture whose masks have an IoU of 0.9 or more; crowds aside.

    The later one is named, once, and the earlier one is the second of the finding's objects.
    """
    for image in range(len(part)):
        objects = part.dataset.annotations[image]
        rows = part.rows(image)
        told: set[int] = set()  # each object once, however many copies there are
        for earlier, later in islice(_close_boxes(objects, told), _MOST_PAIRS):
            if later in told:
                continue
            overlap = _mask_iou(objects, earlier, later)
            if overlap < _SAME:
                continue
            told.add(later)
            label_map = part.dataset.label_map
            names = [label_map.name(int(objects.labels[i])) for i in (earlier, later)]
            first = rows[earlier].get("id")
            if names[0] == names[1]:
                why = f"its mask is that of annotation {first!r:.60} of the same class (IoU {overlap:.3f})"
                yield part.find("duplicate-object", why, image, [later, earlier])
            else:
                why = f"is {names[1]!r:.60}; annotation {first!r:.60} with the same mask is {names[0]!r:.60}"
                yield part.find("same-mask-two-classes", f"{why} (IoU {overlap:.3f})", image, [later, earlier])


def _numbers(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{number:.6g}" for number in box.tolist()) + "]"


def _guess(stored: NDArray[np.float64], own: NDArray[np.float64]) -> str:
    """Say by which factor a box was scaled, if it was."""
    factor = stored[2:] / own[2:]
    if abs(factor[0] / factor[1] - 1) < 0.05 and not 0.9 < factor[0] < 1.1:
        scaled = np.abs(stored - own * factor[0]) <= _BOX_TOLERANCE * max(1.0, float(factor[0]))
        return f"; it looks scaled by {factor[0]:.3g}" if scaled.all() else ""
    return ""


def _close_boxes(objects: ImageAnnotations, left_out: Container[int]) -> Iterator[tuple[int, int]]:
    """Give pairs (earlier, later) whose boxes overlap enough for their masks to be the same.

    Whoever takes the pairs may leave out objects on the way; they are not the earlier one of any more.
    """
    boxes = objects.boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    for i in range(len(boxes) - 1):
        if objects.crowd[i] or i in left_out:
            continue
        others = boxes[i + 1 :]
        sides = np.minimum(boxes[i, 2:], others[:, 2:]) - np.maximum(boxes[i, :2], others[:, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        union = np.prod(sizes[i]) + np.prod(sizes[i + 1 :], axis=1) - shared
        # Masks that are alike by 0.9 have boxes alike by less where a thin limb decides the box.
        for j in np.flatnonzero((shared >= 0.5 * union) & ~objects.crowd[i + 1 :]).tolist():
            yield i, i + 1 + j


def _mask_iou(objects: ImageAnnotations, i: int, j: int) -> float:
    """Give the IoU of two masks; 0 at once where their areas alone rule it out."""
    areas = objects.areas[[i, j]].tolist()
    if min(areas) < _SAME * max(areas):
        return 0.0
    if objects.masks[i] == objects.masks[j]:
        return 1.0
    boxes = objects.boxes[[i, j]].astype(np.int64)
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    one, other = (decode_window(objects.masks[k], left, top, (bottom - top, right - left)) for k in (i, j))
    return float((one & other).sum() / (one | other).sum())
