"""Polygons by COCO's rule (pycocotools is the oracle) and outlines of masks."""

import math

import numpy as np
import pytest
from pycocotools import mask as oracle

from panet.errors import DataError
from panet.ops.polygons import rasterise, to_rle, trace
from panet.ops.rle import area, decode

SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]

# pycocotools 2.0.11 is older than this warning of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pycocotools_mask(polygons, height, width):
    return oracle.decode(oracle.merge(oracle.frPyObjects(polygons, height, width))).astype(bool)


def fill(rings, height, width):
    """Even-odd at pixel centres: another rule than COCO's, written independently."""
    inside = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x1 == x2:
                inside[min(y1, y2) : max(y1, y2), x1:] ^= True
    return inside


def test_no_polygon_is_an_empty_mask():
    assert not rasterise([], 4, 5).any()
    assert rasterise([], 4, 5).shape == (4, 5)


def test_a_square_on_pixel_edges_is_exactly_its_pixels():
    expected = np.zeros((5, 6), dtype=bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(rasterise([SQUARE], 5, 6), expected)


@pytest.mark.parametrize(
    "polygons",
    [
        [SQUARE],
        [[0.3, 0.2, 7.9, 3.1, 2.2, 8.8]],
        [[1, 1, 6, 6, 6, 1, 1, 6]],  # crosses itself
        [[1, 1, 5, 1, 5, 5, 1, 5, 1, 1, 5, 1, 5, 5, 1, 5]],  # round twice
        [[1, 1, 1, 1, 5, 1, 5, 5, 5, 5, 1, 1]],  # points repeated
        [[-5, -5, 4, -5, 4, 4, -5, 4]],  # half outside
        [[6, 6, 30, 6, 30, 30, 6, 30]],
        [[-30, -30, 30, -30, 30, 30, -30, 30]],  # covers all
        [[20, 20, 30, 20, 30, 30]],  # wholly outside
        [[1, 1, 5, 5, 3, 3]],  # no area
        [[0.5, 0.5, 0.6, 0.5, 0.6, 0.6]],
        [SQUARE, [3, 3, 8, 3, 8, 8, 3, 8]],  # two parts that overlap
        [SQUARE, [4, 1, 8, 1, 8, 4, 4, 4]],  # that touch
        [SQUARE, SQUARE],
        [SQUARE, [2, 2, 3, 2, 3, 3, 2, 3]],  # one inside the other
    ],
)
def test_masks_are_those_of_pycocotools(polygons):
    np.testing.assert_array_equal(rasterise(polygons, 9, 10), pycocotools_mask(polygons, 9, 10))


def test_twenty_thousand_points_are_drawn():
    angles = np.linspace(0, 2 * math.pi, 20_000, endpoint=False)
    circle = np.stack([50 + 40.3 * np.cos(angles), 45 + 40.3 * np.sin(angles)], axis=1).ravel().tolist()
    np.testing.assert_array_equal(rasterise([circle], 90, 100), pycocotools_mask([circle], 90, 100))


def test_a_large_picture_is_not_built_for_a_small_polygon():
    assert area(to_rle([SQUARE], 8_000, 8_000)) == 9


@pytest.mark.parametrize(
    ("polygon", "why"),
    [
        ([], "0 numbers"),
        ([1, 1, 2, 2], "4 numbers"),
        ([1, 1, 2, 2, 3, 3, 4], "7 numbers"),
        ([1, 1, 2, 2, 3, math.nan], "not finite"),
        ([1, 1, 2, 2, 3, math.inf], "not finite"),
        ([1, 1, 2, 2, 3, 1e12], "far outside"),
        ([1, 1, 2, 2, 3, 10**40], "not a number"),
        ([1, 1, 2, 2, 3, None], "not a number"),
        (["1", "1", "2", "2", "3", "1"], "not a number"),
        ([True, False] * 3, "not a number"),
        ([[1, 1], [2, 2], [3, 1]], "pairs x, y"),
        ([[1, 1], [2, 2, 3]], "flat list"),
        ([-1e6, -1e6, 1e6, 1e6] * 3000, "too long"),
    ],
)
def test_an_invalid_polygon_is_refused_with_its_reason(polygon, why):
    with pytest.raises(DataError, match=why):
        rasterise([SQUARE, polygon], 5, 7_000)


def test_an_empty_mask_has_no_outline():
    assert trace(np.zeros((3, 4), dtype=bool)) == []
    assert trace(np.zeros((0, 0), dtype=bool)) == []


def test_a_rectangle_is_traced_clockwise_by_four_corners():
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:6] = True
    [polygon] = trace(mask)
    assert polygon.exterior.tolist() == [[2, 1], [6, 1], [6, 3], [2, 3]]
    assert polygon.holes == ()


def test_a_hole_goes_to_the_exterior_around_it_also_with_an_island_inside():
    mask = np.zeros((9, 20), dtype=bool)
    mask[:, :9] = True
    mask[1:8, 1:8] = False
    mask[3:6, 3:6] = True
    mask[4, 4] = False
    mask[2:5, 12:15] = True
    by_corner = {tuple(polygon.exterior.min(axis=0)): polygon for polygon in trace(mask)}
    assert len(by_corner) == 3
    assert [hole.min(axis=0).tolist() for hole in by_corner[0, 0].holes] == [[1, 1]]
    assert [hole.min(axis=0).tolist() for hole in by_corner[3, 3].holes] == [[4, 4]]
    assert by_corner[12, 2].holes == ()


def test_two_holes_side_by_side_have_one_owner():
    mask = np.ones((7, 8), dtype=bool)
    mask[5] = False  # below it lies another exterior
    mask[1:4, 1:3] = False
    mask[2, 4:6] = False
    assert [len(polygon.holes) for polygon in trace(mask)] == [2, 0]


def test_pixels_that_touch_at_a_corner_are_two_polygons():
    assert len(trace(np.eye(2, dtype=bool))) == 2


def test_a_ring_closed_at_a_corner_has_a_hole_and_no_ring_touches_itself():
    mask = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    [polygon] = trace(mask)
    assert len(polygon.holes) == 1
    for ring in (polygon.exterior, *polygon.holes):
        assert len(np.unique(ring, axis=0)) == len(ring)


@pytest.mark.parametrize("seed", range(20))
def test_filling_the_outline_gives_the_mask_back(seed):
    draws = np.random.default_rng(seed)
    mask = draws.random(draws.integers(1, 14, 2)) < draws.random()
    polygons = trace(mask)
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]
    np.testing.assert_array_equal(fill(rings, *mask.shape), mask)
    by_coco = np.zeros_like(mask)
    for ring in rings:
        by_coco ^= decode(to_rle([ring.ravel()], *mask.shape))
    np.testing.assert_array_equal(by_coco, mask)
