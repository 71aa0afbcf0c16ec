"""Suppression by hand values; idempotence and the rest are in tests/property/test_geometry.py."""

import torch

from panet.ops.suppression import suppress


def keep(boxes, scores, threshold, groups=None, **options):
    groups = [0] * len(scores) if groups is None else groups
    return suppress(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(groups, dtype=torch.int64),
        threshold,
        **options,
    ).tolist()


def test_no_boxes_leave_no_boxes():
    assert keep([], [], 0.5) == []


def test_the_best_of_overlapping_boxes_stays_and_the_best_comes_first():
    # IoU of the first two is 8 / 12.
    boxes = [[0, 0, 10, 1], [2, 0, 12, 1], [50, 0, 60, 1]]
    assert keep(boxes, [0.5, 0.6, 0.9], 0.5) == [2, 1]
    assert keep(boxes, [0.5, 0.6, 0.9], 0.7) == [2, 1, 0]


def test_boxes_of_different_groups_never_meet():
    assert keep([[0, 0, 10, 10]] * 3, [0.1, 0.2, 0.3], 0.5, [4, 4, 9]) == [2, 1]


def test_a_suppressed_box_suppresses_nothing():
    # A chain: each overlaps the next by 6 / 14, the first and the last by 2 / 18.
    chain = [[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]]
    assert keep(chain, [0.9, 0.8, 0.7], 0.3) == [0, 2]


def test_an_overlap_equal_to_the_threshold_suppresses_only_where_ends_are_inclusive():
    # 4 and 2 px wide, the one inside the other: IoU exactly 0.5, written in each convention.
    assert keep([[0, 0, 4, 1], [0, 0, 2, 1]], [0.9, 0.8], 0.5) == [0, 1]
    assert keep([[0, 0, 3, 0], [0, 0, 1, 0]], [0.9, 0.8], 0.5, inclusive=True) == [0]
    assert keep([[0, 0, 3, 0], [0, 0, 0, 0]], [0.9, 0.8], 0.5, inclusive=True) == [0, 1]  # IoU 0.25
