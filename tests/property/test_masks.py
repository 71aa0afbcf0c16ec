"""Laws of masks, over many drawn ones; pycocotools is the oracle on valid input only, for it crashes on other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from pycocotools import mask as oracle

from panet.errors import DataError
from panet.ops.polygons import rasterise, trace
from panet.ops.rle import area, decode, decode_window, encode, encode_window, to_box

# pycocotools 2.0.11 is older than this warning of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LAWS = settings(max_examples=100, deadline=None, derandomize=True)

masks = st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
coordinates = st.one_of(
    st.integers(-40, 60).map(float),
    st.integers(-80, 120).map(lambda value: value / 2),
    st.floats(-40, 60, allow_nan=False),
)
polygons = st.integers(3, 9).flatmap(lambda n: st.lists(coordinates, min_size=2 * n, max_size=2 * n))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=12,
)


@LAWS
@given(masks)
def test_encoding_is_pycocotools_and_decoding_its_inverse(mask):
    rle = encode(mask)
    expected = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle["counts"].encode() == expected["counts"]
    np.testing.assert_array_equal(decode(rle, mask.shape), mask)
    assert encode(decode(rle)) == rle


@LAWS
@given(masks)
def test_area_and_box_equal_pycocotools(mask):
    rle = encode(mask)
    expected = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    x, y, width, height = oracle.toBbox(expected)
    assert area(rle) == oracle.area(expected) == mask.sum()
    assert to_box(rle) == (x, y, x + width, y + height)


@LAWS
@given(masks, st.tuples(*[st.integers(0, 6)] * 4))
def test_a_window_in_a_picture_is_encoded_as_the_whole(mask, margins):
    left, top, right, bottom = margins
    whole = np.pad(mask, ((top, bottom), (left, right)))
    rle = encode_window(mask, left, top, whole.shape)
    assert rle == encode(whole)
    np.testing.assert_array_equal(decode_window(rle, left, top, mask.shape), mask)


@LAWS
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 5))
def test_any_valid_counts_decode_as_pycocotools_does(counts, height):
    counts[-1] += -sum(counts) % height
    if sum(counts) == 0:
        counts[-1] = height
    size = [height, sum(counts) // height]
    rle = oracle.frPyObjects({"size": size, "counts": counts}, *size)
    expected = oracle.decode(rle)
    np.testing.assert_array_equal(decode({"size": size, "counts": counts}), expected)
    np.testing.assert_array_equal(decode(rle), expected)


@settings(LAWS, max_examples=300)
@given(st.lists(polygons, min_size=1, max_size=3), st.integers(1, 40), st.integers(1, 40))
def test_polygons_are_drawn_bit_for_bit_as_pycocotools_does(parts, height, width):
    expected = oracle.decode(oracle.merge(oracle.frPyObjects(parts, height, width)))
    np.testing.assert_array_equal(rasterise(parts, height, width), expected)


@LAWS
@given(st.dictionaries(st.sampled_from(["size", "counts"]), anything))
def test_a_hostile_rle_is_refused_or_a_mask(rle):
    try:
        mask = decode(rle)
    except DataError:
        return
    assert mask.shape == tuple(rle["size"])


@LAWS
@given(st.one_of(st.text("0123456789:;<=>?@ABCXYZ[]^_`abmno"), st.binary(max_size=12)), st.integers(1, 9))
def test_hostile_characters_are_refused_or_a_mask(counts, side):
    try:
        mask = decode({"size": [side, side], "counts": counts})
    except DataError:
        return
    assert mask.shape == (side, side)
    np.testing.assert_array_equal(decode(encode(mask)), mask)


@LAWS
@given(st.lists(anything, max_size=4))
def test_hostile_polygons_are_refused_or_a_mask(parts):
    try:
        mask = rasterise([part if isinstance(part, list) else [part] for part in parts], 7, 8)
    except DataError:
        return
    assert mask.shape == (7, 8)


@LAWS
@given(masks)
def test_outlines_filled_are_the_mask_and_every_ring_is_simple(mask):
    filled = np.zeros_like(mask)
    for polygon in trace(mask):
        exterior = rasterise([polygon.exterior.ravel()], *mask.shape)
        for ring in (polygon.exterior, *polygon.holes):
            inside = rasterise([ring.ravel()], *mask.shape)
            filled ^= inside
            assert not (inside & ~exterior).any()
            assert len(np.unique(ring, axis=0)) == len(ring)
    np.testing.assert_array_equal(filled, mask)
