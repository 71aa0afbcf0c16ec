"""A mask with holes and many parts -> one closed outline, exact where it is drawn in and out in turn.

The rings of a mask are joined by lines that go there and back: they are crossed twice wherever they are crossed, and so
change no pixel. Formats that hold one polygon an object, without holes, hold any mask this way.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from panet.ops.polygons import Polygon

__all__ = ["join_polygons", "join_rings"]

_LOOKED_BACK = 5_000  # corners; the masks of objects have fewer, and noise must not take long

Points = NDArray[np.int64]


def join_polygons(polygons: Sequence[Polygon]) -> Points:
    """Give one outline (P, 2) of all parts and holes: draw([outline]) is their mask, by COCO's rule."""
    return join_rings([ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)])


def join_rings(rings: Sequence[Points]) -> Points:
    """Join closed rings of corners (x, y) into one: from the top, each to the nearest corner of those before it.

    Args:
        rings: at least one, (P_i, 2) each.
    Returns: (sum P_i + 2 * (number of rings - 1), 2).
    """
    turned = sorted((_from_top(ring) for ring in rings), key=lambda ring: (int(ring[0, 1]), int(ring[0, 0])))
    corners = np.concatenate(turned)
    stops = np.cumsum([len(ring) for ring in turned]).tolist()
    joined: dict[int, list[list[int]]] = {}  # corner -> the rings that hang on it, there and back
    for start, stop in pairwise(stops):
        first = max(0, start - _LOOKED_BACK)
        nearest = first + int(((corners[first:start] - corners[start]) ** 2).sum(axis=1).argmin())
        joined.setdefault(nearest, []).append([*range(start, stop), start, nearest])

    path: list[int] = []
    ways: list[Iterator[int]] = [iter(range(stops[0]))]
    while ways:
        corner = next(ways[-1], None)
        if corner is None:
            ways.pop()
            continue
        path.append(corner)
        ways.extend(map(iter, joined.pop(corner, [])))
    outline: Points = corners[path]
    return outline


def _from_top(ring: Points) -> Points:
    """Turn a ring so that it starts with its leftmost corner of the topmost."""
    return np.roll(ring, -int(np.lexsort((ring[:, 0], ring[:, 1]))[0]), axis=0)
