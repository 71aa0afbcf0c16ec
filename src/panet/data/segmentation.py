"""The three forms of a COCO segmentation -> one: compressed RLE. Each is checked before it is used."""

from collections.abc import Mapping

from panet.errors import DataError
from panet.ops.polygons import draw
from panet.ops.rle import Positions, Rle, read_positions, write_positions
from panet.structures import Size

__all__ = ["read_segmentation"]


def read_segmentation(segmentation: object, size: Size) -> tuple[Rle, Positions]:
    """Give the mask of polygons, compressed or uncompressed RLE, clipped to the picture of that size, in two forms.

    Never builds a mask of the picture's size.

    Raises:
        DataError: says what is wrong; the caller names file and annotation.
    """
    if segmentation is None:
        raise DataError("has no segmentation; a box alone cannot train masks")
    if isinstance(segmentation, Mapping):
        positions, height, width = read_positions(segmentation, size)
        counts = segmentation["counts"]
        if isinstance(counts, str):  # as it is: writing would cost as much as reading
            return {"size": [height, width], "counts": counts}, positions
        return write_positions(positions, height, width), positions
    if not isinstance(segmentation, list):
        raise DataError(f"segmentation is a {type(segmentation).__name__}; it must be polygons or RLE")
    if not segmentation or not all(isinstance(polygon, list) for polygon in segmentation):
        raise DataError("segmentation must be a list of polygons [[x1, y1, x2, y2, ...], ...]")
    positions = draw(segmentation, *size)
    return write_positions(positions, *size), positions
