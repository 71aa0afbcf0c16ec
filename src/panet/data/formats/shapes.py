"""One shape of a LabelMe file -> a polygon or a block of pixels. An error says what is wrong; the caller says where."""

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from panet.data.formats.label_maps import find_objects
from panet.data.images import printable, read_label_map
from panet.errors import DataError
from panet.ops.polygons import rasterise
from panet.ops.rle import Positions
from panet.structures import Size

__all__ = ["FLAT", "Block", "read_shape", "unite"]

FLAT = ("point", "points", "line", "linestrip")
"""Shapes without area."""

_CIRCLE_ERROR = 0.05  # px, between a circle and its polygon


class Block(NamedTuple):
    """Pixels of a mask: (h, w), its first column and row in the picture."""

    pixels: NDArray[np.bool_]
    left: int
    top: int


def read_shape(row: Mapping[str, Any]) -> list[float] | Block:
    """Give a shape's polygon [x1, y1, x2, y2, ...], image px, or the pixels of its mask.

    Raises:
        DataError: of an unknown kind, or its points are not what the kind needs.
    """
    kind = row.get("shape_type") or "polygon"
    points = _read_points(row.get("points"))
    if kind == "polygon":
        if len(points) < 3:
            raise DataError(f"a polygon of {len(points)} points; it needs at least 3")
        return [value for point in points for value in point]
    if kind not in ("rectangle", "circle", "mask"):
        raise DataError(
            f"shape_type {printable(repr(kind))[:40]} is unknown; polygon, rectangle, circle, mask have areas"
        )
    if kind == "rectangle" and len(points) == 4:
        return [value for point in points for value in point]
    if len(points) != 2:
        raise DataError(f"a {kind} of {len(points)} points; it needs 2")
    (x1, y1), (x2, y2) = points
    if kind == "rectangle":
        return [x1, y1, x2, y1, x2, y2, x1, y2]
    return _circle(x1, y1, math.hypot(x2 - x1, y2 - y1)) if kind == "circle" else _read_mask(row.get("mask"), points)


def unite(parts: list[list[float] | Block], size: Size) -> list[list[float]] | Positions:
    """Unite the parts of an object: polygons stay polygons; with a block of pixels, all become pixels.

    Raises:
        DataError: a block reaches out of the picture.
    """
    polygons = [part for part in parts if not isinstance(part, Block)]
    blocks = [part for part in parts if isinstance(part, Block)]
    if not blocks:
        return polygons
    mask = rasterise(polygons, *size) if polygons else np.zeros(size, dtype=bool)
    for pixels, left, top in blocks:
        height, width = pixels.shape
        if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
            raise DataError(f"its mask reaches out of the picture of {size[1]} x {size[0]} px")
        mask[top : top + height, left : left + width] |= pixels
    found = list(find_objects(mask.astype(np.uint8)))
    return found[0].positions if found else np.empty(0, dtype=np.int64)


def _read_points(points: object) -> list[tuple[float, float]]:
    if not isinstance(points, list):
        raise DataError("has no list of points")
    pairs: list[tuple[float, float]] = []
    for place, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2 or not all(_is_number(value) for value in point):
            raise DataError(f"points[{place}] is {printable(repr(point))[:60]}, not two finite numbers [x, y]")
        pairs.append((float(point[0]), float(point[1])))
    return pairs


def _is_number(value: object) -> TypeGuard[int | float]:
    return type(value) in (int, float) and -1e9 < value < 1e9  # type: ignore[operator]  # NaN compares false


def _circle(x: float, y: float, radius: float) -> list[float]:
    if not 0 < radius < 1e6:
        raise DataError(f"a circle of radius {radius:g}; the second point lies on its edge")
    corners = max(8, math.ceil(math.pi / math.acos(max(0.0, 1 - _CIRCLE_ERROR / radius))))
    angles = [2 * math.pi * number / corners for number in range(corners)]
    return [value for angle in angles for value in (x + radius * math.cos(angle), y + radius * math.sin(angle))]


def _read_mask(encoded: object, points: list[tuple[float, float]]) -> Block:
    if not isinstance(encoded, str):
        raise DataError("a mask without 'mask', its pixels as a PNG in base64")
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"its 'mask' is not base64 ({error})") from error
    pixels = read_label_map(Path("mask"), content)
    (x1, y1), (x2, y2) = points
    size = (int(y2) - int(y1) + 1, int(x2) - int(x1) + 1)
    if pixels.shape != size:
        raise DataError(
            f"its mask is {pixels.shape[1]} x {pixels.shape[0]} px, but its points span {size[1]} x {size[0]}"
        )
    return Block(pixels > 0, int(x1), int(y1))
