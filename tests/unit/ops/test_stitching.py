"""What becomes of the pieces that tiles find, when these are not as true as one would wish."""

import tracemalloc

import numpy as np
import pytest

from panet.ops import rle
from panet.ops.stitching import Piece, Stitched, stitch
from panet.ops.tiles import Tile, lay_tiles

SIZE = (100, 180)
TILES = lay_tiles(SIZE, 100, 20)  # 0 .. 100 and 80 .. 180: the zone is 80 .. 100
LEFT, RIGHT = 0, 1

Box = tuple[int, int, int, int]


def piece(
    tile: int, box: Box, score: float = 0.5, label: int = 1, tiles: list[Tile] = TILES, but: Box | None = None
) -> Piece:
    """A rectangle, image px, as a tile has found it; perhaps without a part."""
    top, left, height, width = tiles[tile]
    mask = np.zeros((height, width), dtype=bool)
    for (x1, y1, x2, y2), value in ((box, True), *(((but, False),) if but else ())):
        mask[max(0, y1 - top) : max(0, y2 - top), max(0, x1 - left) : max(0, x2 - left)] = value
    return Piece(tile, label, score, tuple(float(side) for side in box), rle.encode(mask))  # type: ignore[arg-type]


def boxes_of(stitched: list[Stitched]) -> list[Box]:
    for each in stitched:
        assert each.mask["size"] == list(SIZE)
    return [rle.to_box(each.mask) for each in stitched]


def test_nothing_found_is_nothing() -> None:
    assert stitch([], TILES, SIZE) == []
    assert stitch([], [], SIZE) == []


def test_what_one_tile_finds_stays_as_it_is() -> None:
    (found,) = stitch([piece(LEFT, (10, 20, 30, 50), 0.7, 2)], TILES, SIZE)
    assert found[:3] == (2, 0.7, (10, 20, 30, 50))
    expected = np.zeros(SIZE, dtype=bool)
    expected[20:50, 10:30] = True
    assert np.array_equal(rle.decode(found.mask), expected)


def test_a_mask_without_a_pixel_is_left_out() -> None:
    assert stitch([piece(LEFT, (10, 20, 10, 20))], TILES, SIZE) == []


def test_two_views_of_an_object_are_one_object_that_of_the_higher_score() -> None:
    pieces = [piece(LEFT, (82, 10, 92, 20), 0.6), piece(RIGHT, (83, 10, 93, 21), 0.8)]
    (found,) = stitch(pieces, TILES, SIZE)
    assert (found.score, found.box) == (0.8, (83, 10, 93, 21))
    assert boxes_of([found]) == [(83, 10, 93, 21)]


def test_a_whole_object_is_not_changed_by_its_cut_piece_whatever_the_scores() -> None:
    pieces = [piece(LEFT, (85, 10, 100, 30), 0.9), piece(RIGHT, (85, 11, 115, 29), 0.4)]
    (found,) = stitch(pieces, TILES, SIZE)
    assert (found.score, found.box) == (0.4, (85, 11, 115, 29))


def test_a_mask_that_ends_a_pixel_before_the_edge_counts_as_cut_in_a_large_tile() -> None:
    tiles = lay_tiles((600, 1000), 600, 200)
    pieces = [piece(LEFT, (500, 10, 599, 60), 0.9, tiles=tiles), piece(RIGHT, (500, 10, 680, 60), 0.4, tiles=tiles)]
    (found,) = stitch(pieces, tiles, (600, 1000))
    assert found.box == (500, 10, 680, 60)


def test_an_object_that_every_tile_cuts_is_the_union_with_the_highest_score() -> None:
    pieces = [piece(LEFT, (30, 10, 100, 30), 0.6), piece(RIGHT, (80, 8, 150, 30), 0.8)]
    (found,) = stitch(pieces, TILES, SIZE)
    assert (found.score, found.box) == (0.8, (30, 8, 150, 30))
    assert rle.area(found.mask) == 70 * 20 + 70 * 22 - 20 * 20


def test_an_object_is_followed_through_many_tiles() -> None:
    size = 100, 500
    tiles = lay_tiles(size, 100, 20)
    assert len(tiles) == 6
    pieces = [
        piece(i, (max(20, tile.left), 40, min(470, tile.left + 100), 60), 0.5, 1, tiles) for i, tile in enumerate(tiles)
    ]
    (found,) = stitch(pieces[::-1], tiles, size)
    assert rle.to_box(found.mask) == found.box == (20, 40, 470, 60)


def test_an_object_on_the_corner_of_four_tiles_is_found_once() -> None:
    size = 180, 180
    tiles = lay_tiles(size, 100, 20)
    small = [piece(i, (86, 86, 94, 94), 0.5 + i / 10, 1, tiles) for i in range(4)]
    large = [
        piece(i, (max(60, left), max(60, top), min(120, left + 100), min(120, top + 100)), 0.5, 2, tiles)
        for i, (top, left, _, _) in enumerate(tiles)
    ]
    found = stitch(small + large, tiles, size)
    assert [(each.label, each.score, rle.to_box(each.mask)) for each in found] == [
        (1, 0.8, (86, 86, 94, 94)),
        (2, 0.5, (60, 60, 120, 120)),
    ]


def test_touching_neighbours_of_one_class_stay_two() -> None:
    upper = [piece(LEFT, (70, 10, 100, 30)), piece(RIGHT, (80, 10, 110, 30))]
    lower = [piece(LEFT, (70, 30, 100, 50)), piece(RIGHT, (80, 30, 110, 50))]
    assert boxes_of(stitch(upper + lower, TILES, SIZE)) == [(70, 10, 110, 30), (70, 30, 110, 50)]


def test_masks_that_overlap_a_little_stay_two() -> None:
    pieces = [piece(LEFT, (70, 10, 100, 30)), piece(RIGHT, (80, 24, 110, 46))]
    assert len(stitch(pieces, TILES, SIZE)) == 2


def test_objects_of_two_classes_are_two() -> None:
    assert len(stitch([piece(LEFT, (82, 10, 92, 20)), piece(RIGHT, (82, 10, 92, 20), label=2)], TILES, SIZE)) == 2


def test_a_sliver_that_a_whole_object_covers_is_part_of_it() -> None:
    pieces = [piece(LEFT, (96, 12, 100, 18), 0.9), piece(RIGHT, (90, 10, 120, 40), 0.5)]
    assert boxes_of(stitch(pieces, TILES, SIZE)) == [(90, 10, 120, 40)]


def test_a_cut_piece_where_another_tile_finds_nothing_is_left_out() -> None:
    assert stitch([piece(LEFT, (90, 10, 100, 30), 0.9)], TILES, SIZE) == []
    beyond = piece(LEFT, (70, 10, 100, 30), 0.9)  # no tile shows it whole
    assert boxes_of(stitch([beyond], TILES, SIZE)) == [(70, 10, 100, 30)]
    whole = piece(LEFT, (85, 10, 95, 30), 0.9)  # not cut, only missed by the other tile
    assert boxes_of(stitch([whole], TILES, SIZE)) == [(85, 10, 95, 30)]


def test_one_place_seen_in_two_ways_is_told_once_in_the_way_with_the_higher_score() -> None:
    cluster, first, second = (82, 10, 98, 40), (82, 10, 98, 25), (82, 26, 98, 38)
    for score, expected in ((0.9, [cluster]), (0.1, [first, second])):
        pieces = [piece(LEFT, cluster, score), piece(RIGHT, first, 0.6), piece(RIGHT, second, 0.5)]
        pieces[1] = piece(RIGHT, first, 0.6, but=(82, 10, 86, 25))  # less than half of the cluster
        assert boxes_of(stitch(pieces, TILES, SIZE)) == [(86, *box[1:]) if box is first else box for box in expected]


@pytest.mark.parametrize(("bottom", "expected"), [(20, [(70, 10, 110, 30)]), (19, [(70, 10, 100, 30)])])
def test_pieces_are_one_object_from_an_iou_of_half_in_the_zone(bottom: int, expected: list[Box]) -> None:
    pieces = [piece(LEFT, (70, 10, 100, 30), 0.9), piece(RIGHT, (80, 10, 110, bottom))]
    assert boxes_of(stitch(pieces, TILES, SIZE)) == expected


@pytest.mark.parametrize(("top", "expected"), [(14, [(70, 10, 100, 60)]), (15, [(70, 15, 100, 60)])])
def test_pieces_are_one_object_if_three_quarters_of_one_that_is_cut_are_covered(top: int, expected: list[Box]) -> None:
    pieces = [piece(LEFT, (70, top, 100, 60), 0.9), piece(RIGHT, (80, 10, 100, 26))]
    assert boxes_of(stitch(pieces, TILES, SIZE)) == expected


@pytest.mark.parametrize(("top", "count"), [(35, 1), (36, 2)])
def test_half_of_the_smaller_one_is_one_place_seen_twice(top: int, count: int) -> None:
    pieces = [piece(LEFT, (82, 10, 98, 40), 0.9), piece(RIGHT, (82, top, 98, top + 10))]
    assert len(stitch(pieces, TILES, SIZE)) == count


def test_pieces_without_a_pixel_in_the_zone_are_two_objects() -> None:
    """Their boxes meet there, but each bends around it: what is no part of either says nothing."""
    size = 180, 180
    tiles = lay_tiles(size, 100, 20)
    first = piece(0, (60, 60, 95, 95), tiles=tiles, but=(70, 70, 95, 95))
    second = piece(3, (85, 85, 120, 120), tiles=tiles, but=(85, 85, 110, 110))
    found = stitch([first, second], tiles, size)
    assert [each.box for each in found] == [(60, 60, 95, 95), (85, 85, 120, 120)]


@pytest.mark.parametrize(
    ("x1", "x2", "tile", "count"), [(85, 99, 0, 1), (85, 100, 0, 0), (81, 95, 1, 1), (80, 95, 1, 0)]
)
def test_a_mask_is_cut_if_it_touches_its_tiles_edge(x1: int, x2: int, tile: int, count: int) -> None:
    """One that is not cut stays, though the other tile shows it whole and did not find it."""
    assert len(stitch([piece(tile, (x1, 10, x2, 30))], TILES, SIZE)) == count


@pytest.mark.parametrize(("bottom", "count"), [(510, 1), (511, 0)])
def test_close_to_an_edge_is_a_256th_of_the_longer_side(bottom: int, count: int) -> None:
    size = 924, 100
    tiles = lay_tiles(size, 512, 100)
    assert tiles[0] == (0, 0, 512, 100)
    assert len(stitch([piece(0, (10, 450, 30, bottom), tiles=tiles)], tiles, size)) == count


def test_an_object_on_another_one_stays_if_a_tile_found_both() -> None:
    big = [piece(LEFT, (40, 10, 100, 60)), piece(RIGHT, (80, 10, 150, 60))]
    small = [piece(LEFT, (84, 20, 94, 30), 0.4), piece(RIGHT, (84, 20, 94, 30), 0.3)]
    assert boxes_of(stitch(big + small, TILES, SIZE)) == [(40, 10, 150, 60), (84, 20, 94, 30)]
    only_right = stitch([big[0], small[1]], TILES, SIZE)
    assert boxes_of(only_right) == [(40, 10, 100, 60)]


def test_nothing_of_the_pictures_size_is_made() -> None:
    """A mask of 20,000 x 20,000 px would be 400 MB; one tile's is 1 MB."""
    size = 20_000, 20_000
    tiles = lay_tiles(size, 1000, 200)
    line = (9_000, 9_000, 9_100, 19_000)  # down through eleven tiles
    pieces = [
        piece(i, (line[0], max(line[1], top), line[2], min(line[3], top + 1000)), 0.5, 1, tiles)
        for i, (top, left, height, width) in enumerate(tiles)
        if left <= line[0] and line[2] <= left + width and top < line[3] and line[1] < top + height
    ]
    tracemalloc.start()
    found = stitch(pieces, tiles, size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [rle.to_box(each.mask) for each in found] == [line]
    assert rle.area(found[0].mask) == 100 * 10_000
    assert peak < 20e6


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_pieces_with_equal_scores_does_not_matter(order: int) -> None:
    pieces = [piece(LEFT, (82, 10, 92, 20)), piece(RIGHT, (83, 10, 93, 21))]
    assert boxes_of(stitch(pieces[::order], TILES, SIZE)) == [(82, 10, 92, 20)]
