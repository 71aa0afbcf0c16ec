"""Pictures whose width and height are swapped in the file, where the masks prove it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from panet.doctor.opening import drawable_outlines
from panet.doctor.parts import Finding, Part
from panet.structures import Size

__all__ = ["annotations_of", "find_surely_swapped"]

_EDGE = 1.0  # px that an outline may reach over the picture's edge


def annotations_of(part: Part, number: int | str) -> dict[int, Mapping[str, Any]]:
    """Give the rows about a picture, used or not, by their places in the file."""
    annotations = part.document["annotations"]
    return {place: annotations[place] for place in part.rows_by_image.get(number, [])}


def find_surely_swapped(part: Part, findings: Iterable[Finding]) -> dict[int | str, Size]:
    """Give the pictures whose masks fit their file's size, and not all of them the stated one: (height, width)."""
    sizes: dict[int | str, Size] = {}
    for finding in findings:
        number = finding.problem.image_id
        if finding.problem.rule == "size-swapped" and number is not None:
            row = part.image_rows[number]
            size: Size = int(row["width"]), int(row["height"])
            if _is_proved(annotations_of(part, number).values(), size):
                sizes[number] = size
    return sizes


def _is_proved(rows: Iterable[Mapping[str, Any]], size: Size) -> bool:
    """Tell whether all masks fit a picture of that (height, width), and one does not fit the swapped size."""
    height, width = size
    proved = False
    for row in rows:
        segmentation = row.get("segmentation")
        if isinstance(segmentation, dict):
            if segmentation.get("size") != [height, width]:
                return False
            proved = True
        for outline in drawable_outlines(row):
            low, high = outline.min(), outline.max(axis=0)
            if low < -_EDGE or (high > np.array([width, height]) + _EDGE).any():
                return False
            proved = proved or bool((high > np.array([height, width]) + _EDGE).any())
    return proved
