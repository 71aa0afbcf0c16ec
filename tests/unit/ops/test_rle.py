"""Own RLE code: equal to pycocotools on valid input, a DataError on everything else."""

import numpy as np
import pytest
from pycocotools import mask as oracle

from panet.errors import DataError
from panet.ops.rle import (
    area,
    decode,
    decode_window,
    encode,
    encode_window,
    read_positions,
    to_box,
    write_positions,
)

MASKS = {
    "empty": np.zeros((3, 4), dtype=bool),
    "full": np.ones((3, 4), dtype=bool),
    "first pixel": np.eye(1, 12, dtype=bool).reshape(3, 4),
    "last pixel": np.eye(1, 12, 11, dtype=bool).reshape(3, 4),
    "one column": np.array([[True], [False], [True]]),
    "one row": np.array([[True, False, True]]),
    "diagonal": np.eye(5, dtype=bool),
    "run over two columns": np.array([[False, True], [True, False]]),
    "long runs": np.tile(np.arange(300) % 150 < 70, (1000, 1)),
}


@pytest.fixture(params=MASKS, ids=lambda name: name.replace(" ", "_"))
def mask(request):
    return MASKS[request.param]


def test_the_string_is_the_one_that_pycocotools_writes(mask):
    expected = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle = encode(mask)
    assert rle["size"] == list(expected["size"])
    assert rle["counts"].encode() == expected["counts"]


def test_decoding_undoes_encoding(mask):
    decoded = decode(encode(mask))
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


def test_area_and_box_are_those_of_the_mask(mask):
    rle = encode(mask)
    rows, columns = np.nonzero(mask)
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if mask.any() else (0, 0, 0, 0)
    assert area(rle) == mask.sum()
    assert to_box(rle) == expected


def test_uncompressed_counts_and_bytes_are_read_like_the_string():
    mask = MASKS["diagonal"]
    text = encode(mask)["counts"]
    for counts in (text.encode(), [0, 1, 5, 1, 5, 1, 5, 1, 5, 1]):
        np.testing.assert_array_equal(decode({"size": [5, 5], "counts": counts}), mask)


def test_runs_of_length_zero_are_legal():
    rle = {"size": [2, 3], "counts": [1, 2, 0, 1, 0, 0, 2]}
    np.testing.assert_array_equal(decode(rle).T.ravel(), [False, True, True, True, False, False])
    assert area(rle) == 3
    assert to_box(rle) == (0, 0, 2, 2)


@pytest.mark.parametrize("window", [(0, 0, 6, 5), (1, 2, 3, 3), (0, 0, 6, 1), (5, 4, 1, 1), (2, 2, 0, 2), (2, 2, 2, 0)])
def test_a_window_is_encoded_as_the_picture_it_lies_in(window):
    top, left, height, width = window
    part = np.random.default_rng(0).random((height, width)) < 0.6
    whole = np.zeros((6, 5), dtype=bool)
    whole[top : top + height, left : left + width] = part
    rle = encode_window(part, left, top, (6, 5))
    assert rle == encode(whole)
    np.testing.assert_array_equal(decode_window(rle, left, top, (height, width)), part)


def test_a_window_of_a_huge_picture_costs_the_window_only():
    rle = encode_window(np.ones((2, 2), dtype=bool), 7_000, 7_000, (8_000, 8_000))
    assert area(rle) == 4
    assert to_box(rle) == (7_000, 7_000, 7_002, 7_002)
    assert decode_window(rle, 6_999, 6_999, (4, 4)).sum() == 4


def test_positions_are_a_third_form_of_the_same():
    rle = encode(MASKS["diagonal"])
    positions, height, width = read_positions(rle)
    assert positions.tolist() == [0, 1, 6, 7, 12, 13, 18, 19, 24, 25]
    assert write_positions(positions, height, width) == rle


@pytest.mark.parametrize(
    ("rle", "why"),
    [
        ({}, "no size"),
        ({"size": None, "counts": "0"}, "no size"),
        ({"size": [2], "counts": "4"}, "no size"),
        ({"size": [2.0, 2], "counts": "4"}, "no size"),
        ({"size": [True, 1], "counts": "1"}, "no size"),
        ({"size": "22", "counts": "4"}, "no size"),
        ({"size": [0, 2], "counts": "0"}, "must have 1 to"),
        ({"size": [-2, -2], "counts": "4"}, "must have 1 to"),
        ({"size": [100_000, 100_000], "counts": [10**10]}, "must have 1 to"),
        ({"size": [2**70, 1], "counts": [2**70]}, "must have 1 to"),
        ({"size": [2, 2]}, "no counts"),
        ({"size": [2, 2], "counts": None}, "no counts"),
        ({"size": [2, 2], "counts": 4}, "no counts"),
        ({"size": [2, 2], "counts": []}, "do not add up"),
        ({"size": [2, 2], "counts": ""}, "do not add up"),
        ({"size": [2, 2], "counts": [3]}, "do not add up"),
        ({"size": [2, 2], "counts": [1, 4]}, "do not add up"),
        ({"size": [2, 2], "counts": "5"}, "do not add up"),
        ({"size": [2, 2], "counts": "3"}, "do not add up"),
        ({"size": [2, 2], "counts": [5]}, "a run has 0 to 4"),
        ({"size": [2, 2], "counts": [-1, 5]}, "a run has 0 to 4"),
        ({"size": [2, 2], "counts": [2**80]}, "a run has 0 to 4"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "only integers"),
        ({"size": [2, 2], "counts": ["4"]}, "only integers"),
        ({"size": [2, 2], "counts": [None]}, "only integers"),
        ({"size": [2, 2], "counts": [True, 3]}, "only integers"),
        ({"size": [2, 2], "counts": "4 "}, "illegal character at place 1"),
        ({"size": [2, 2], "counts": "4\x7f"}, "illegal character at place 1"),
        ({"size": [2, 2], "counts": "4é"}, "illegal character at place 1"),
        ({"size": [2, 2], "counts": "4\ud800"}, "illegal character at place 1"),
        ({"size": [2, 2], "counts": "4P"}, "middle of a number"),
        ({"size": [2, 2], "counts": "P" * 20 + "0"}, "too large"),
        ({"size": [2, 2], "counts": "O5"}, "shorter than 0"),
    ],
)
def test_an_invalid_rle_is_refused_with_its_reason(rle, why):
    for reader in (decode, area, to_box):
        with pytest.raises(DataError, match=why):
            reader(rle)


def test_a_mask_too_large_for_one_array_is_not_decoded_at_once():
    rle = {"size": [8_001, 8_001], "counts": [0, 5, 8_001**2 - 5]}
    with pytest.raises(DataError, match="a mask of 8001 x 8001 pixels is decoded in parts"):
        decode(rle)
    assert decode_window(rle, 0, 0, (6, 2)).tolist() == [[True, False]] * 5 + [[False, False]]


def test_an_rle_of_another_size_than_expected_is_refused():
    with pytest.raises(DataError, match=r"size \[3, 4\] is not the picture's \[height, width\] \[4, 3\]"):
        decode(encode(MASKS["full"]), (4, 3))
