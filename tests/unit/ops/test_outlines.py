"""One outline that holds any mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from panet.ops.outlines import join_polygons, join_rings
from panet.ops.polygons import rasterise, trace

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def outline_of(mask):
    return join_polygons(trace(mask)).ravel().tolist()


def test_a_mask_without_holes_keeps_its_corners():
    square = np.zeros((6, 6), dtype=bool)
    square[1:4, 2:5] = True
    assert sorted(join_polygons(trace(square)).tolist()) == [[2, 1], [2, 4], [5, 1], [5, 4]]


def test_a_hole_and_an_island_in_it_survive_in_one_outline():
    mask = np.ones((9, 9), dtype=bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    assert len(trace(mask)) == 2
    assert (rasterise([outline_of(mask)], 9, 9) == mask).all()


@given(arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_an_outline_draws_its_mask(mask):
    if mask.any():
        assert (rasterise([outline_of(mask)], *mask.shape) == mask).all()


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_of_many_rings_draws_its_mask(seed):
    mask = np.random.default_rng(seed).random((64, 96)) < 0.5
    assert sum(1 + len(polygon.holes) for polygon in trace(mask)) > 300
    assert (rasterise([outline_of(mask)], 64, 96) == mask).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_reference_code_draws_the_same(seed):
    from pycocotools import mask as reference

    mask = np.random.default_rng(seed).random((40, 30)) < 0.7
    [encoded] = reference.frPyObjects([[float(value) for value in outline_of(mask)]], 40, 30)
    assert (reference.decode(encoded) == mask).all()


def test_each_ring_is_joined_at_its_nearest_corner():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]])
    near, far = square + np.array([4, 0]), square + np.array([20, 0])
    outline = join_rings([square, far, near])
    assert len(outline) == 3 * 4 + 2 * 2
    steps = np.abs(np.diff(np.append(outline, outline[:1], axis=0), axis=0)).sum(axis=1)
    assert sorted(steps.tolist()) == [2] * (3 * 4 + 2) + [14, 14]
