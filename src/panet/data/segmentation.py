"""The three forms of a COCO segmentation -> one: positions as in `panet.ops.rle`. Each is checked first."""

from collections.abc import Mapping, Sequence

import numpy as np

from panet.data.problems import RowError
from panet.data.records import Note, is_finite
from panet.errors import DataError
from panet.ops.polygons import draw
from panet.ops.rle import Positions, measure_area, measure_box, read_positions
from panet.structures import Size

__all__ = ["read_segmentation"]

_NEAR_LINE = 0.01  # px from a line through the polygon's two ends


def read_segmentation(segmentation: object, size: Size, note: Note | None = None) -> Positions:
    """Give the mask of polygons, compressed or uncompressed RLE, clipped to the picture of that size.

    Never builds a mask of the picture's size. `note` is told of parts with fewer than three points, which are left out.

    Raises:
        RowError: says what is wrong; the caller names file and annotation.
    """
    if segmentation is None:
        raise RowError("segmentation-missing", "has no segmentation; a box alone cannot train masks")
    if isinstance(segmentation, Mapping):
        try:
            return read_positions(segmentation, size)[0]
        except DataError as error:
            raise RowError("rle-invalid", str(error)) from error
    if not isinstance(segmentation, list):
        kind = type(segmentation).__name__
        raise RowError("segmentation-of-other-form", f"segmentation is a {kind}; it must be polygons or RLE")
    if not segmentation or not all(isinstance(polygon, list) for polygon in segmentation):
        why = "segmentation must be a list of polygons [[x1, y1, x2, y2, ...], ...]"
        raise RowError("segmentation-of-other-form", why)
    if not all(set(map(type, polygon)) <= {int, float} for polygon in segmentation):  # numpy would convert texts
        raise RowError("polygon-invalid", "a polygon holds something that is not a number")
    polygons = _leave_out_stumps(segmentation, note)
    try:
        positions = draw(polygons, *size)
    except DataError as error:
        raise RowError("polygon-invalid", str(error)) from error
    if _is_thin(positions, size[0]) and all(map(_is_line, polygons)):
        raise RowError("polygon-without-area", "the polygon's points lie on one line; remove the annotation")
    return positions


def _is_thin(positions: Positions, height: int) -> bool:
    """Tell whether a mask has no more pixels than a line across its box, which is quick to see."""
    x1, y1, x2, y2 = measure_box(positions, height)
    return 0 < measure_area(positions) <= 2 * (x2 - x1 + y2 - y1)


def _is_line(polygon: Sequence[float]) -> bool:
    """Tell whether a polygon's points lie on one line. Drawing it may still give a few pixels, by rounding."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    ways = points - points[0]
    x, y = ways[np.square(ways).sum(axis=1).argmax()]
    away = np.abs(ways[:, 0] * y - ways[:, 1] * x)
    return bool((away <= _NEAR_LINE * np.hypot(x, y)).all())


def _leave_out_stumps(polygons: Sequence[Sequence[float]], note: Note | None) -> Sequence[Sequence[float]]:
    """Leave out points and lines beside polygons that enclose something."""
    whole = [polygon for polygon in polygons if not _is_stump(polygon)]
    if not whole or len(whole) == len(polygons):
        return polygons
    if note is not None:
        num_left_out = len(polygons) - len(whole)
        note("polygon-part-left-out", f"{num_left_out} of {len(polygons)} polygons have fewer than 3 points: left out")
    return whole


def _is_stump(polygon: Sequence[float]) -> bool:
    return len(polygon) in (0, 2, 4) and all(map(is_finite, polygon))
