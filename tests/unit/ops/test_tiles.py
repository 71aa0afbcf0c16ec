"""Tiles cover the picture, overlap as they shall, and say where an object is not cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panet.ops.tiles import Tile, inner_boxes, lay_tiles


def test_a_picture_that_fits_is_one_tile() -> None:
    assert lay_tiles((40, 64), 64, 10) == [Tile(0, 0, 40, 64)]


def test_tiles_come_row_by_row_evenly_spaced() -> None:
    tiles = lay_tiles((64, 150), 64, 13)  # 86 px to go in steps of at most 51
    assert tiles == [Tile(0, 0, 64, 64), Tile(0, 43, 64, 64), Tile(0, 86, 64, 64)]
    assert [tile[:2] for tile in lay_tiles((100, 80), 64, 4)] == [(0, 0), (0, 16), (36, 0), (36, 16)]
    assert Tile(1, 2, 3, 5).box == (2, 1, 7, 4)


@given(height=st.integers(1, 300), width=st.integers(1, 300), side=st.integers(2, 90), share=st.floats(0, 0.5))
def test_tiles_cover_the_picture_and_neighbours_overlap(height: int, width: int, side: int, share: float) -> None:
    overlap = max(1, int(side * share))
    tiles = lay_tiles((height, width), side, overlap)
    assert {tile[2:] for tile in tiles} == {(min(height, side), min(width, side))}
    for length, starts in ((height, [tile.top for tile in tiles]), (width, [tile.left for tile in tiles])):
        line = sorted(set(starts))
        assert line[0] == 0
        assert line[-1] == max(0, length - side)
        assert all(b - a <= side - overlap for a, b in itertools.pairwise(line))
        if length > side:  # not a tile more than needed
            assert len(line) - 1 < (length - side) / (side - overlap) + 1


def test_an_object_is_cut_by_inner_edges_only() -> None:
    tiles = [Tile(0, 0, 10, 10), Tile(0, 6, 10, 10), Tile(5, 3, 10, 10)]
    assert np.array_equal(inner_boxes(tiles, (15, 16), 2), [[0, 0, 8, 8], [8, 0, 16, 8], [5, 7, 11, 15]])
    assert inner_boxes([], (15, 16), 2).shape == (0, 4)


@pytest.mark.parametrize("overlap", [0, 33])
def test_an_overlap_outside_its_range_is_our_own_mistake(overlap: int) -> None:
    with pytest.raises(AssertionError):
        lay_tiles((100, 100), 64, overlap)
