"""The pieces that overlapping tiles show of an object -> the object; no mask of the picture's size is made.

Two tiles that overlap show the same pixels where they do, in their zone: there, what they found is compared.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from panet.ops import rle
from panet.ops.polygons import unite
from panet.ops.tiles import Tile, inner_boxes

__all__ = ["Piece", "Stitched", "stitch"]

_SAME = 0.5  # IoU in the zone from which two pieces are one object's
_COVERED = 0.75  # share of a cut piece from which what covers it is the same object
_TWICE = 0.5  # share of the smaller of two objects from which what covers it is the same place, seen in another way
_MARGIN = 256  # a tile's side over this many px: a mask that comes so close to an edge is cut by it

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2), image px."""


class Piece(NamedTuple):
    """What was found in one tile.

    Args:
        tile: its index.
        label: the class.
        score: 0..1.
        box: image px.
        mask: of the tile's size.
    """

    tile: int
    label: int
    score: float
    box: Box
    mask: rle.Rle


class Stitched(NamedTuple):
    """An object of the picture: as a piece, its mask of the picture's size."""

    label: int
    score: float
    box: Box
    mask: rle.Rle


class _Seen(NamedTuple):
    """A piece; the tight box of its mask, image px; its pixels; whether its tile's edge cuts it."""

    piece: Piece
    box: tuple[int, int, int, int]
    area: int
    is_cut: bool


class _Object(NamedTuple):
    """The pieces, best first, whose union it is; and all tiles that found any of it."""

    pieces: list[int]
    tiles: set[int]


class _Overlap(NamedTuple):
    """Two pieces of one class; whether they are one object's, or two objects in one place."""

    first: int
    second: int
    is_same: bool
    is_twice: bool


def stitch(pieces: Sequence[Piece], tiles: Sequence[Tile], size: tuple[int, int]) -> list[Stitched]:
    """Make one object of all that tiles found of it; best first.

    Two pieces of one class are one object's if the IoU of their masks in the zone is at least 0.5; or if one is cut by
    its tile's edge and the other covers 0.75 of it. Of an object that a tile shows whole, the whole piece with the
    highest score remains, as it is. Of one that every tile cuts, the union of its pieces remains, with the highest of
    their scores and the box around theirs. What is cut, though another tile shows its place whole and found nothing,
    goes. If one of two objects of a class then covers half of the smaller one, and no tile found both, the one with
    the lower score goes.

    Law: the cuts of connected masks that share no pixel give these masks, bit for bit, in whatever order they come.

    Args:
        pieces: of all tiles; those without a pixel are left out.
        tiles: windows of the picture; every two neighbours overlap.
        size: the picture's (height, width).
    """
    inner = inner_boxes(tiles, size, margin=max([1, *(max(tile[2:]) // _MARGIN for tile in tiles)]))
    seen = [_look_at(piece, tiles[piece.tile], inner[piece.tile]) for piece in sorted(pieces, key=_rank)]
    seen = [each for each in seen if each.area]
    overlaps = list(_compare(seen, tiles))
    objects = []
    for members in _join(len(seen), [(each.first, each.second) for each in overlaps if each.is_same]):
        whole = [index for index in members if not seen[index].is_cut]
        if whole or not _is_shown(_around([seen[index].box for index in members]), inner):
            found_in = {seen[index].piece.tile for index in members}
            objects.append(_Object(whole[:1] or members, found_in))
    kept = _without_twice(objects, [(each.first, each.second) for each in overlaps if each.is_twice])
    return [_assemble([seen[index] for index in each.pieces], tiles, size) for each in kept]


def _rank(piece: Piece) -> tuple[object, ...]:
    """Best first; the rest of the key is arbitrary, but fixed."""
    return -piece.score, piece.label, piece.tile, piece.box, piece.mask["counts"]


def _look_at(piece: Piece, tile: Tile, inner: NDArray[np.int64]) -> _Seen:
    positions, height, _ = rle.read_positions(piece.mask, (tile.height, tile.width))
    x1, y1, x2, y2 = rle.measure_box(positions, height)
    box = x1 + tile.left, y1 + tile.top, x2 + tile.left, y2 + tile.top
    return _Seen(piece, box, rle.measure_area(positions), not _is_shown(box, inner[None]))


def _is_shown(box: Box, inner: NDArray[np.int64]) -> bool:
    """Tell whether a box lies in one of (T, 4)."""
    x1, y1, x2, y2 = box
    return bool(((inner[:, :2] <= (x1, y1)).all(axis=1) & (inner[:, 2:] >= (x2, y2)).all(axis=1)).any())


def _compare(seen: Sequence[_Seen], tiles: Sequence[Tile]) -> Iterator[_Overlap]:
    """Give the pairs that matter of pieces from two tiles."""
    corners = np.array([tile.box for tile in tiles], dtype=np.int64).reshape(-1, 4)
    found_in = np.array([each.piece.tile for each in seen], dtype=np.int64)
    by_tile = [np.flatnonzero(found_in == tile) for tile in range(len(tiles))]
    boxes = np.array([each.box for each in seen], dtype=np.int64).reshape(-1, 4)
    labels = np.array([each.piece.label for each in seen], dtype=np.int64)
    for tile, here in enumerate(by_tile):
        neighbours = tile + 1 + np.flatnonzero(_meet(corners[tile, None], corners[tile + 1 :])[0])
        for other in neighbours.tolist():
            there = by_tile[other]
            candidates = _meet(boxes[here], boxes[there]) & (labels[here, None] == labels[there])
            zone = _Zone(seen, tiles, _common(tiles[tile].box, tiles[other].box))
            for i, j in np.argwhere(candidates).tolist():
                overlap = zone.compare(int(here[i]), int(there[j]))
                if overlap.is_same or overlap.is_twice:
                    yield overlap


def _meet(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which of (N, 4) and (M, 4) boxes have a pixel in common: (N, M)."""
    start = np.maximum(first[:, None, :2], second[:, :2])
    return np.asarray((start < np.minimum(first[:, None, 2:], second[:, 2:])).all(axis=2))


def _common(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Give the box that two boxes share; they do."""
    (a, b, c, d), (x, y, z, w) = first, second
    return max(a, x), max(b, y), min(c, z), min(d, w)


class _Zone:
    """What two tiles share, and the parts of masks in it, each decoded once."""

    def __init__(self, seen: Sequence[_Seen], tiles: Sequence[Tile], box: tuple[int, int, int, int]) -> None:
        self._seen, self._tiles, self._box = seen, tiles, box
        self._windows: dict[int, tuple[rle.Mask, int]] = {}

    def compare(self, first: int, second: int) -> _Overlap:
        one, other = self._seen[first], self._seen[second]
        common = self._count_common(first, second)
        union = self._window(first)[1] + self._window(second)[1] - common
        is_covered = any(each.is_cut and common >= _COVERED * each.area for each in (one, other))
        is_same = common > 0 and (common >= _SAME * union or is_covered)
        return _Overlap(first, second, is_same, common >= _TWICE * min(one.area, other.area))

    def _count_common(self, first: int, second: int) -> int:
        box = _common(self._seen[first].box, self._seen[second].box)
        return int((self._cut(first, box) & self._cut(second, box)).sum())

    def _cut(self, index: int, box: tuple[int, int, int, int]) -> rle.Mask:
        x, y, _, _ = _common(self._seen[index].box, self._box)
        x1, y1, x2, y2 = box
        return self._window(index)[0][y1 - y : y2 - y, x1 - x : x2 - x]

    def _window(self, index: int) -> tuple[rle.Mask, int]:
        """Give a mask's part in the zone, and its pixels."""
        if index not in self._windows:
            part = _decode(self._seen[index].piece, self._tiles, _common(self._seen[index].box, self._box))
            self._windows[index] = part, int(part.sum())
        return self._windows[index]


def _decode(piece: Piece, tiles: Sequence[Tile], box: tuple[int, int, int, int]) -> rle.Mask:
    """Give the part of a piece's mask that a box, image px, shows."""
    x1, y1, x2, y2 = box
    tile = tiles[piece.tile]
    return rle.decode_window(piece.mask, x1 - tile.left, y1 - tile.top, (y2 - y1, x2 - x1))


def _join(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Group 0..count - 1 by what pairs connect; each group in ascending order, and the groups by their first."""
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for first, second in pairs:
        a, b = sorted((root(first), root(second)))
        parents[b] = a
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _without_twice(objects: Sequence[_Object], pairs: Sequence[tuple[int, int]]) -> list[_Object]:
    """Drop what a better object, which no tile found beside it, covers; give the others, best first."""
    owner = {piece: each for each in objects for piece in each.pieces}
    rivals: dict[int, list[int]] = {}
    for first, second in pairs:
        if first in owner and second in owner and not owner[first].tiles & owner[second].tiles:
            worse, better = sorted((owner[first].pieces[0], owner[second].pieces[0]), reverse=True)
            rivals.setdefault(worse, []).append(better)
    kept: dict[int, _Object] = {}
    for each in sorted(objects, key=lambda each: each.pieces[0]):
        if not any(better in kept for better in rivals.get(each.pieces[0], [])):
            kept[each.pieces[0]] = each
    return list(kept.values())


def _assemble(pieces: Sequence[_Seen], tiles: Sequence[Tile], size: tuple[int, int]) -> Stitched:
    """Make the object of its pieces, best first."""
    masks = [rle.encode_window(_decode(each.piece, tiles, each.box), each.box[0], each.box[1], size) for each in pieces]
    union = rle.write_positions(unite([rle.read_positions(mask)[0] for mask in masks]), *size)
    best = pieces[0].piece
    return Stitched(best.label, best.score, _around([each.piece.box for each in pieces]), union)


def _around(boxes: Sequence[Box]) -> Box:
    """Give the box around boxes."""
    starts_x, starts_y, ends_x, ends_y = zip(*boxes, strict=True)
    return min(starts_x), min(starts_y), max(ends_x), max(ends_y)
