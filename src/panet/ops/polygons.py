"""Polygons to masks by COCO's rule, and masks to exact outlines.

COCO's rule (bit for bit that of its reference code): corners are rounded to a grid five times finer than the pixels;
every edge is drawn on that grid; a column's boundary is where the outline passes its middle; between boundaries the
pixels are in and out in turn. Polygons of one object are united.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from panet.errors import DataError
from panet.ops.rle import Mask, Positions, Rle, decode, write_positions

__all__ = ["Polygon", "draw", "rasterise", "to_rle", "trace", "unite"]

_FINE = 5  # grid lines a pixel
_MAX_COORDINATE = 1e6  # px; beyond it a polygon is a mistake, and far beyond it integers overflow
_MAX_CROSSINGS = 1 << 21  # of an object's outline and the columns: 300 MB and a second

Points: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Polygon:
    """An outline along pixel edges, in image px: corners (x, y), y downwards, not closed by repetition.

    Args:
        exterior: (P, 2), clockwise as seen on the screen.
        holes: (Q, 2) each, counter-clockwise.
    """

    exterior: Points
    holes: tuple[Points, ...]


def rasterise(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """Draw the union of polygons [x1, y1, x2, y2, ...], image px, clipped to the picture, as an (H, W) mask.

    Raises:
        DataError: a polygon is no list of at least 3 points with finite coordinates, or crosses columns too often.
    """
    return decode(to_rle(polygons, height, width))


def to_rle(polygons: Sequence[Sequence[float]], height: int, width: int) -> Rle:
    """Draw as `rasterise`, without building H x W: the cost is the outline's length."""
    return write_positions(draw(polygons, height, width), height, width)


def draw(polygons: Sequence[Sequence[float]], height: int, width: int) -> Positions:
    """Draw as `rasterise`; give the positions of `panet.ops.rle`. All polygons at once: there may be thousands."""
    if not len(polygons):
        return np.empty(0, dtype=np.int64)
    parts = [_read_points(polygon) for polygon in polygons]
    lengths = np.array([len(part) for part in parts])
    ends = np.cumsum(lengths)
    following = np.arange(1, ends[-1] + 1)
    following[ends - 1] = ends - lengths  # every polygon is closed
    fine = (_FINE * np.concatenate(parts) + 0.5).astype(np.int64)
    edges, columns, rows = _cross_columns(fine, fine[following], width)
    rows = np.clip(-((_FINE // 2 - rows) // _FINE), 0, height)  # fine row -> first pixel row below
    places = columns * height + rows + (height * width + 1) * np.searchsorted(ends, edges, side="right")
    return unite([_find_changes(places, height * width)])


def _read_points(polygon: Sequence[float]) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(polygon)
    except ValueError as error:
        raise DataError("a polygon must be one flat list [x1, y1, x2, y2, ...]") from error
    if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2:
        raise DataError(f"a polygon of {numbers.size} numbers: it needs pairs x, y of at least 3 points")
    if numbers.dtype.kind not in "iuf":
        raise DataError("a polygon holds something that is not a number")
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > _MAX_COORDINATE:
        raise DataError("a polygon has a coordinate that is not finite or far outside any picture")
    return numbers.astype(np.float64).reshape(-1, 2)


def _find_changes(places: Points, num_pixels: int) -> Positions:
    """Give the positions at which each polygon's mask changes, polygon by polygon, an even number of each.

    Args:
        places: at which the outlines cross the columns, plus (num_pixels + 1) times the polygon's number.
        num_pixels: of the picture.
    """
    places, times = np.unique(places, return_counts=True)
    owners, changes = np.divmod(places[times % 2 == 1], num_pixels + 1)
    owners, changes = owners[changes < num_pixels], changes[changes < num_pixels]
    odd = np.flatnonzero(np.bincount(owners) % 2)
    return np.insert(changes, np.searchsorted(owners, odd, side="right"), num_pixels) if len(odd) else changes


def _cross_columns(starts: Points, stops: Points, width: int) -> tuple[Points, Points, Points]:
    """Find where edges on the fine grid pass from fine column 5c + 2 to 5c + 3, or back.

    Returns: the edges' numbers, pixel columns c in 0..W-1, and the fine rows there (of the two grid points, the upper).
    """
    (x1, y1), (x2, y2) = starts.T, stops.T
    flat = np.abs(x2 - x1) >= np.abs(y2 - y1)
    swap = np.where(flat, x1 > x2, y1 > y2)  # each edge is drawn along its longer axis, upwards in it
    x1, x2, y1, y2 = (
        np.where(swap, x2, x1),
        np.where(swap, x1, x2),
        np.where(swap, y2, y1),
        np.where(swap, y1, y2),
    )
    middle = _FINE // 2
    first = np.maximum(-((middle - np.minimum(x1, x2)) // _FINE), 0)
    last = np.minimum((np.maximum(x1, x2) - middle - 1) // _FINE, width - 1)
    num_columns = np.maximum(last - first + 1, 0)
    if num_columns.sum() > _MAX_CROSSINGS:
        raise DataError("the polygons' outline is too long to be drawn")

    edges = np.repeat(np.arange(len(starts)), num_columns)
    before = np.repeat(np.cumsum(num_columns) - num_columns, num_columns)
    columns = first[edges] + np.arange(len(edges)) - before
    x1, x2, y1, y2, flat = x1[edges], x2[edges], y1[edges], y2[edges], flat[edges]
    target = _FINE * columns + middle
    rows = np.empty_like(columns)
    rows[flat] = _rows_of_flat(target[flat], x1[flat], x2[flat], y1[flat], y2[flat])
    steep = ~flat
    rows[steep] = _rows_of_steep(target[steep], x1[steep], x2[steep], y1[steep], y2[steep])
    return edges, columns, rows


def _rows_of_flat(target: Points, x1: Points, x2: Points, y1: Points, y2: Points) -> Points:
    """Edges with |dx| >= |dy|, drawn from x1 to x2: the upper of the rows at fine columns target, target + 1."""
    slope = (y2 - y1) / (x2 - x1)
    steps = target - x1
    here = (y1 + slope * steps + 0.5).astype(np.int64)
    there = (y1 + slope * (steps + 1) + 0.5).astype(np.int64)
    upper: Points = np.minimum(here, there)
    return upper


def _rows_of_steep(target: Points, x1: Points, x2: Points, y1: Points, y2: Points) -> Points:
    """Edges with |dx| < |dy|, drawn from y1 to y2: the last row before x passes between target and target + 1."""
    slope = (x2 - x1) / (y2 - y1)
    rising = slope > 0

    def passed(steps: Points) -> NDArray[np.bool_]:
        x = (x1 + slope * steps + 0.5).astype(np.int64)
        return np.where(rising, x > target, x <= target)

    guess = np.ceil((target + 0.5 - x1) / slope).astype(np.int64)
    # Rounding makes the guess wrong by at most one; the drawn points decide.
    steps = np.where(passed(guess - 1), guess - 1, np.where(passed(guess), guess, guess + 1))
    return y1 + steps - 1


def unite(parts: Sequence[Positions]) -> Positions:
    """Unite masks given by their positions."""
    starts = np.sort(np.concatenate([part[::2] for part in parts] or [np.empty(0, np.int64)]))
    ends = np.sort(np.concatenate([part[1::2] for part in parts] or [np.empty(0, np.int64)]))
    # A run of the union starts where as many runs have ended as had started before.
    opens = np.searchsorted(ends, starts, side="left") == np.arange(len(starts))
    closes = np.searchsorted(starts, ends, side="right") == np.arange(1, len(ends) + 1)
    return np.stack([starts[opens], ends[closes]], axis=1).ravel()


def trace(mask: Mask) -> list[Polygon]:
    """Outline an (H, W) mask along its pixels' edges; holes lie with the exterior around them.

    Exact: the pixels whose centre is inside an odd number of rings are the mask. Every ring is simple; where pixels
    touch at a corner only, rings touch there. Costs the mask's size once, then its corners.
    """
    rings = _follow(mask)
    exteriors = [ring for ring in rings if _signed_area(ring) > 0]
    holes = sorted((ring for ring in rings if _signed_area(ring) < 0), key=lambda ring: ring[:, 1].min())
    if not holes:
        return [Polygon(exterior, ()) for exterior in exteriors]

    owner = np.full((mask.shape[0], mask.shape[1] + 1), -1, dtype=np.int64)  # of each pixel's left edge
    held: list[list[Points]] = [[] for _ in exteriors]
    for number, exterior in enumerate(exteriors):
        _mark(owner, exterior, number)
    for hole in holes:  # from the top: a hole's left neighbour in the row above is known before it
        x, y = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]
        outside = np.flatnonzero(~mask[y - 1, :x])
        number = int(owner[y - 1, outside[-1] + 1 if len(outside) else 0])
        held[number].append(hole)
        _mark(owner, hole, number)
    return [Polygon(exterior, tuple(inner)) for exterior, inner in zip(exteriors, held, strict=True)]


def _signed_area(ring: Points) -> int:
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    return int((x * next_y - next_x * y).sum())


def _mark(owner: NDArray[np.int64], ring: Points, number: int) -> None:
    """Write `number` on the edges that have the mask at their right: where the ring goes up."""
    for (x, y), (_, next_y) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        if next_y < y:
            owner[next_y:y, x] = number


def _follow(mask: Mask) -> list[Points]:
    """Follow all edges with the mask at the right hand; give simple rings of corners (x, y)."""
    inside = np.pad(np.asarray(mask, dtype=bool), 1)
    nw, ne, sw, se = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    saddles = (nw == se) & (ne == sw) & (nw != ne)
    corner = saddles | (nw ^ ne ^ sw ^ se)
    ys, xs = np.nonzero(corner)
    by_column = np.lexsort((ys, xs))
    place = np.empty_like(by_column)
    place[by_column] = np.arange(len(by_column))
    # Directions 0..3: right, down, left, up. The next corner in the row or column ends the edge.
    leaves = np.stack([se & ~ne, sw & ~se, nw & ~sw, ne & ~nw], axis=-1)[ys, xs]
    only = leaves.argmax(axis=1).tolist()
    is_saddle = saddles[ys, xs].tolist()
    columns, ranks = by_column.tolist(), place.tolist()

    def step(corner: int, way: int) -> tuple[int, int]:
        along = 1 if way < 2 else -1
        following = corner + along if way % 2 == 0 else columns[ranks[corner] + along]
        # At a saddle turn right: pixels that touch at a corner only are apart.
        return following, (way + 1) % 4 if is_saddle[following] else only[following]

    rings: list[list[int]] = []
    unused = dict.fromkeys((int(start), int(way)) for start, way in np.argwhere(leaves))
    while unused:
        rings.extend(_walk(next(iter(unused)), unused, step, is_saddle))
    corners = np.stack([xs, ys], axis=1)
    return [corners[ring] for ring in rings]


def _walk(
    state: tuple[int, int],
    unused: dict[tuple[int, int], None],
    step: Callable[[int, int], tuple[int, int]],
    is_saddle: Sequence[bool],
) -> list[list[int]]:
    """Walk from (corner, direction) until it comes back; where the path meets itself, cut off the loop as a ring."""
    rings: list[list[int]] = []
    path: list[int] = []
    met: dict[int, int] = {}  # saddle -> its place in the path
    while state in unused:
        del unused[state]
        corner = state[0]
        if corner in met:
            rings.append(path[met[corner] :])
            del path[met[corner] :]  # a saddle in it never comes again: outlines do not cross
        if is_saddle[corner]:
            met[corner] = len(path)
        path.append(corner)
        state = step(*state)
    return [*rings, path]
