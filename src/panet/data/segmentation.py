"""The three forms of a COCO segmentation -> one: positions as in `panet.ops.rle`. Each is checked first."""

from collections.abc import Mapping, Sequence

from panet.data.problems import RowError
from panet.data.records import Note, is_finite
from panet.errors import DataError
from panet.ops.polygons import draw
from panet.ops.rle import Positions, read_positions
from panet.structures import Size

__all__ = ["read_segmentation"]


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
    try:
        return draw(_leave_out_stumps(segmentation, note), *size)
    except DataError as error:
        raise RowError("polygon-invalid", str(error)) from error


def _leave_out_stumps(polygons: Sequence[Sequence[object]], note: Note | None) -> Sequence[Sequence[float]]:
    """Leave out points and lines beside polygons that enclose something."""
    whole = [polygon for polygon in polygons if not _is_stump(polygon)]
    if not whole or len(whole) == len(polygons):
        return polygons  # type: ignore[return-value]  # `draw` checks the numbers
    if note is not None:
        num_left_out = len(polygons) - len(whole)
        note("polygon-part-left-out", f"{num_left_out} of {len(polygons)} polygons have fewer than 3 points: left out")
    return whole  # type: ignore[return-value]  # likewise


def _is_stump(polygon: Sequence[object]) -> bool:
    return len(polygon) in (0, 2, 4) and all(map(is_finite, polygon))
