"""Boxes by hand values; the laws over many boxes are in tests/property/test_geometry.py."""

import math

import pytest
import torch

from panet.ops.boxes import area, clip, decode, encode, intersection, iou, mirror, scale, share_inside


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_no_boxes_give_shaped_empties():
    none, some = boxes(), boxes((0, 0, 2, 2), (1, 1, 3, 3))
    assert area(none).shape == (0,)
    assert clip(none, (5, 5)).shape == encode(none, none).shape == decode(none, none).shape == (0, 4)
    assert iou(none, some).shape == intersection(none, some).shape == share_inside(none, some).shape == (0, 2)
    assert iou(some, none).shape == (2, 0)


def test_an_area_is_width_times_height_and_one_pixel_more_a_side_where_ends_are_inclusive():
    assert area(boxes((1, 2, 4, 8))).tolist() == [18]
    assert area(boxes((1, 2, 4, 8)), inclusive=True).tolist() == [28]


def test_a_box_is_clipped_to_height_and_width():
    outside = boxes((-3, -2, 50, 60), (5, 6, 7, 8), (40, 30, 60, 70))
    assert clip(outside, (20, 30)).tolist() == [[0, 0, 30, 20], [5, 6, 7, 8], [30, 20, 30, 20]]
    assert clip(outside, (20, 30), inclusive=True).tolist() == [[0, 0, 29, 19], [5, 6, 7, 8], [29, 19, 29, 19]]


def test_a_box_is_carried_to_another_size_with_each_axis_by_its_own_factor():
    assert scale(boxes((2, 3, 4, 6)), (10, 20), (30, 20)).tolist() == [[2, 9, 4, 18]]


def test_a_box_is_carried_into_the_mirrored_picture():
    assert mirror(boxes((2, 3, 4, 6)), 10).tolist() == [[6, 3, 8, 6]]
    assert mirror(boxes((0, 3, 9, 6)), 10, inclusive=True).tolist() == [[0, 3, 9, 6]]  # all ten pixels
    assert mirror(boxes(), 10).shape == (0, 4)


def test_the_overlap_of_two_boxes_is_worked_out_by_hand():
    a, b = boxes((0, 0, 4, 4)), boxes((2, 1, 6, 5), (4, 0, 8, 4), (0, 0, 4, 4))
    assert intersection(a, b).tolist() == [[6, 0, 16]]
    torch.testing.assert_close(iou(a, b), torch.tensor([[6 / 26, 0, 1]]))
    # One pixel more a side: 3 x 4 shared of 25 + 25; the touching boxes share a column of 5.
    torch.testing.assert_close(iou(a, b, inclusive=True), torch.tensor([[12 / 38, 5 / 45, 1]]))


def test_empty_boxes_overlap_nothing_not_even_themselves():
    empty = boxes((3, 3, 3, 3), (1, 1, 1, 5))
    assert iou(empty, empty).tolist() == [[0, 0], [0, 0]]
    assert share_inside(empty, boxes((0, 0, 9, 9))).tolist() == [[0], [0]]


def test_the_share_inside_is_of_the_first_box():
    assert share_inside(boxes((0, 0, 4, 4), (0, 0, 2, 2)), boxes((2, 0, 100, 100), (0, 0, 9, 9))).tolist() == [
        [0.5, 1.0],
        [0.0, 1.0],
    ]


def test_deltas_are_worked_out_by_hand():
    # Centre (5, 10) to (7, 11), sides 10 x 20 to 20 x 10.
    anchor, target = boxes((0, 0, 10, 20)), boxes((-3, 6, 17, 16))
    expected = torch.tensor([[0.2, 0.05, math.log(2), -math.log(2)]])
    torch.testing.assert_close(encode(target, anchor), expected)
    torch.testing.assert_close(
        encode(target, anchor, weights=(10, 10, 5, 5)), expected * torch.tensor([10.0, 10, 5, 5])
    )
    torch.testing.assert_close(decode(expected, anchor), target)


def test_inclusive_deltas_count_the_last_pixel():
    # Sides 10 x 20 as above, written with their last pixel.
    anchor, target = boxes((0, 0, 9, 19)), boxes((-3, 6, 16, 15))
    expected = torch.tensor([[0.2, 0.05, math.log(2), -math.log(2)]])
    torch.testing.assert_close(encode(target, anchor, inclusive=True), expected)
    torch.testing.assert_close(decode(expected, anchor, inclusive=True), target)


def test_zero_deltas_leave_the_anchor_where_it_is():
    anchor = boxes((1, 2, 5, 9))
    assert decode(torch.zeros(1, 4), anchor).tolist() == anchor.tolist()


def test_a_side_grows_62_and_a_half_fold_at_most():
    (grown,) = decode(torch.tensor([[0.0, 0.0, 50.0, 4.2]]), boxes((0, 0, 16, 16))).tolist()
    assert grown[2] - grown[0] == pytest.approx(1000, rel=1e-5)
    assert grown[3] - grown[1] == pytest.approx(1000, rel=1e-5)  # exp(4.2) = 66.7


def test_one_box_a_class_is_decoded_against_one_anchor():
    anchors, deltas = boxes((0, 0, 10, 10), (5, 5, 9, 9)), torch.randn(2, 3, 4)
    decoded = decode(deltas, anchors[:, None])
    assert decoded.shape == (2, 3, 4)
    torch.testing.assert_close(decoded[1, 2], decode(deltas[1, 2], anchors[1]))
