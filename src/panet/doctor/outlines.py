"""Outlines and parts of masks: polygons that cross themselves or leave the picture, parts of a pixel or less."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panet.doctor.parts import Finding, Part, Points
from panet.ops.polygons import draw
from panet.ops.rle import Positions, measure_area, read_positions

__all__ = ["find_crossings", "find_leaving", "find_specks", "polygons_of"]

_OUTSIDE = 1.0  # px: tools round to the picture's edge, and some a pixel beyond
_MOST_PARTS = 1000  # of an object whose parts are looked at one by one; of one with more, as many
_MOST_PAIRS = 4_000_000  # of edges that are compared with each other; an outline with more is left alone


def polygons_of(row: Mapping[str, Any]) -> list[Points]:
    """Give the polygons of an annotation that could be read; none for RLE."""
    segmentation = row.get("segmentation")
    if not isinstance(segmentation, list):
        return []
    return [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation if len(polygon) >= 6]


def find_crossings(part: Part) -> Iterator[Finding]:
    """Find polygons of which two edges cross; edges that touch do not."""
    for image, i, polygons in _polygons(part):
        for number, polygon in enumerate(polygons[:_MOST_PARTS]):
            spots = crossings(polygon)
            if len(spots):
                x, y = spots[0].tolist()
                times = "once" if len(spots) == 1 else f"{len(spots)} times"
                which = f"polygon {number + 1} of {len(polygons)}" if len(polygons) > 1 else "its polygon"
                why = f"{which} crosses itself {times}, at ({x:.1f}, {y:.1f})"
                marked = tuple((float(x), float(y)) for x, y in spots[:20])
                yield part.find("outline-crosses-itself", why, image, [i], outlines=(polygon,), spots=marked)


def find_leaving(part: Part) -> Iterator[Finding]:
    """Find objects with a polygon that reaches more than a pixel out of the picture."""
    for image, i, polygons in _polygons(part):
        record = part.dataset.images[image]
        corners = np.concatenate(polygons)
        beyond = max(-corners.min(), (corners - (record.width, record.height)).max())
        if beyond > _OUTSIDE:
            why = f"its outline reaches {beyond:.1f} px out of the picture of {record.width} x {record.height}"
            yield part.find("mask-leaves-picture", why, image, [i], outlines=tuple(polygons))


def find_specks(part: Part) -> Iterator[Finding]:
    """Find masks with a pixel that touches no other one, not even by a corner, or with a polygon of a pixel or less."""
    for image in range(len(part)):
        objects = part.dataset.annotations[image]
        rows = part.rows(image)
        for i, mask in enumerate(objects.masks):
            positions, height, width = read_positions(mask)
            lonely = _lonely(positions, height) if objects.areas[i] > 1 else positions[:0]
            if len(lonely):
                spots = tuple((float(place // height) + 0.5, float(place % height) + 0.5) for place in lonely[:20])
                x, y = spots[0]
                more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
                why = f"its mask of {objects.areas[i]} px has a single pixel apart at ({x:.0f}, {y:.0f}){more}"
                yield part.find("one-pixel-part", why, image, [i], spots=spots)
                continue
            polygons = polygons_of(rows[i])
            for number, polygon in enumerate(polygons[:_MOST_PARTS] if len(polygons) > 1 else []):
                num_pixels = measure_area(draw([polygon.ravel().tolist()], height, width))
                if num_pixels <= 1 and not _is_outside(polygon, height, width):
                    spot = (float(polygon[0, 0]), float(polygon[0, 1]))
                    why = f"its polygon {number + 1} of {len(polygons)} covers {num_pixels} px"
                    yield part.find("one-pixel-part", why, image, [i], spots=(spot,))
                    break


def crossings(polygon: Points) -> Points:
    """Give the (N, 2) points where two edges of a closed polygon (P, 2) cross properly."""
    points = polygon[(polygon != np.roll(polygon, -1, axis=0)).any(axis=1)]
    ends = np.roll(points, -1, axis=0)
    one, other = _candidate_pairs(points, ends)
    a, b, c, d = points[one], ends[one], points[other], ends[other]
    apart = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    a, b, c, d = a[apart], b[apart], c[apart], d[apart]
    along = _cross(c - a, d - c) / _cross(b - a, d - c)
    return np.asarray(a + along[:, None] * (b - a))


def _polygons(part: Part) -> Iterator[tuple[int, int, list[Points]]]:
    for image in range(len(part)):
        for i, row in enumerate(part.rows(image)):
            polygons = polygons_of(row)
            if polygons:
                yield image, i, polygons


def _is_outside(polygon: Points, height: int, width: int) -> bool:
    """Tell whether a polygon draws nothing because it lies out of the picture."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    return bool((high <= 0).any() or (low >= (width, height)).any())


def _lonely(positions: Positions, height: int) -> NDArray[np.int64]:
    """Give the places of pixels without any of the eight neighbours."""
    first, last = positions[::2], positions[1::2] - 1
    # Runs go on from the bottom of a column to the top of the next one, though the pixels do not touch.
    candidates = (first[first == last], first[first % height == height - 1], last[last % height == 0])
    starts = np.unique(np.concatenate(candidates))
    rows = starts % height
    near = np.zeros(len(starts), dtype=bool)
    for step in (-1, 0, 1):  # to the row above, the same, the row below
        exists = (rows + step >= 0) & (rows + step < height)
        for column in (-1, 0, 1):
            if step or column:
                inside = np.searchsorted(positions, starts + column * height + step, side="right") % 2 == 1
                near |= exists & inside
    lonely: NDArray[np.int64] = starts[~near]
    return lonely


def _candidate_pairs(points: Points, ends: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair edges whose extents in x overlap; none where there would be too many."""
    low, high = np.minimum(points[:, 0], ends[:, 0]), np.maximum(points[:, 0], ends[:, 0])
    order = np.argsort(low, kind="stable")
    first = np.arange(1, len(order) + 1)
    count = np.maximum(np.searchsorted(low[order], high[order], side="right") - first, 0)
    if count.sum() > _MOST_PAIRS:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    one = np.repeat(np.arange(len(order)), count)
    before = np.repeat(np.cumsum(count) - count, count)
    other = first[one] + np.arange(len(one)) - before
    return order[one], order[other]


def _cross(a: Points, b: Points) -> NDArray[np.float64]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _side(a: Points, b: Points, c: Points) -> NDArray[np.float64]:
    return np.sign(_cross(b - a, c - a))
