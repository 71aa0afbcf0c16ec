"""True masks, cut by tiles and stitched, are the true masks again, bit for bit."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from panet.ops import rle
from panet.ops.stitching import Piece, Stitched, stitch
from panet.ops.tiles import Tile, lay_tiles

Masks = list[tuple[int, NDArray[np.bool_]]]
"""Label and (H, W) mask of each object."""


def draw_objects(draw: np.random.Generator, size: tuple[int, int], count: int) -> Masks:
    """Connected objects without common pixels, many of them touching: crooked chains of rectangles, split by others."""
    taken = np.zeros(size, dtype=bool)
    objects: Masks = []
    for _ in range(count):
        mask = np.zeros(size, dtype=bool)
        y, x = draw.integers(0, size[0]), draw.integers(0, size[1])
        largest = int(draw.choice([3, 9, 40]))
        for _ in range(draw.integers(1, 6)):
            height, width = draw.integers(1, largest + 1, 2)
            top, left = max(0, y - height // 2), max(0, x - width // 2)
            mask[top : y + height, left : x + width] = True
            y, x = draw.integers(top, min(size[0], y + height)), draw.integers(left, min(size[1], x + width))
        for part in connected_parts(mask & ~taken):
            objects.append((int(draw.integers(1, 3)), part))
        taken |= mask
    return objects


def connected_parts(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Split a mask into parts that do not touch, not even at a corner."""
    left, parts = mask.copy(), []
    while left.any():
        part = np.zeros_like(left)
        part[tuple(np.argwhere(left)[0])] = True
        while True:
            padded = np.pad(part, 1)
            grown = left & np.logical_or.reduce(
                [
                    padded[dy : dy + left.shape[0], dx : dx + left.shape[1]]
                    for dy, dx in itertools.product((0, 1, 2), repeat=2)
                ]
            )
            if np.array_equal(grown, part):
                break
            part = grown
        parts.append(part)
        left &= ~part
    return parts


def cut(objects: Masks, tiles: list[Tile], draw: np.random.Generator) -> list[Piece]:
    """Give every tile's view of every object, with scores of their own, in any order."""
    pieces = []
    for number, tile in enumerate(tiles):
        for label, mask in objects:
            part = mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
            if part.any():
                encoded = rle.encode(part)
                x1, y1, x2, y2 = rle.to_box(encoded)
                box = x1 + tile.left, y1 + tile.top, x2 + tile.left, y2 + tile.top
                pieces.append(Piece(number, label, float(draw.choice([0.25, 0.5, draw.random()])), box, encoded))
    return [pieces[index] for index in draw.permutation(len(pieces))]


def as_set(stitched: list[Stitched]) -> list[tuple[int, str, tuple[float, float, float, float]]]:
    return sorted((each.label, each.mask["counts"], each.box) for each in stitched)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 130),
    width=st.integers(20, 130),
    side=st.integers(16, 70),
    share=st.sampled_from([0.0, 0.2, 0.35, 0.5]),
    count=st.integers(0, 25),
)
def test_the_cuts_of_true_masks_give_the_true_masks(
    seed: int, height: int, width: int, side: int, share: float, count: int
) -> None:
    draw = np.random.default_rng(seed)
    size = height, width
    objects = draw_objects(draw, size, count)
    tiles = lay_tiles(size, side, max(1, int(side * share)))
    pieces = cut(objects, tiles, draw)
    stitched = stitch(pieces, tiles, size)
    encoded = [(label, rle.encode(mask)) for label, mask in objects]
    assert as_set(stitched) == sorted((label, mask["counts"], rle.to_box(mask)) for label, mask in encoded)
    assert all(each.mask["size"] == [height, width] for each in stitched)
    assert [each.score for each in stitched] == sorted((each.score for each in stitched), reverse=True)
    again = stitch([pieces[index] for index in draw.permutation(len(pieces))], tiles, size)
    assert again == stitched
