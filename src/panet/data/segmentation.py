"""The three forms of a COCO segmentation -> one: positions as in `panet.ops.rle`. Each is checked first."""

from collections.abc import Mapping

from panet.errors import DataError
from panet.ops.polygons import draw
from panet.ops.rle import Positions, read_positions
from panet.structures import Size

__all__ = ["read_segmentation"]


def read_segmentation(segmentation: object, size: Size) -> Positions:
    """Give the mask of polygons, compressed or uncompressed RLE, clipped to the picture of that size.

    Never builds a mask of the picture's size.

    Raises:
        DataError: says what is wrong; the caller names file and annotation.
    """
    if segmentation is None:
        raise DataError("has no segmentation; a box alone cannot train masks")
    if isinstance(segmentation, Mapping):
        return read_positions(segmentation, size)[0]
    if not isinstance(segmentation, list):
        raise DataError(f"segmentation is a {type(segmentation).__name__}; it must be polygons or RLE")
    if not segmentation or not all(isinstance(polygon, list) for polygon in segmentation):
        raise DataError("segmentation must be a list of polygons [[x1, y1, x2, y2, ...], ...]")
    return draw(segmentation, *size)
