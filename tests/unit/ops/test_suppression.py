"""Suppression and voting by hand values; their laws are in tests/property."""

import math

import pytest
import torch

from panet.ops.suppression import soft_suppress, suppress, vote


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


# The first two overlap by 6 / 10, the third by 2 / 14 with the first and by 4 / 12 with the second. The last is alone.
ROW = [[0, 0, 8, 1], [2, 0, 10, 1], [6, 0, 14, 1], [50, 0, 58, 1]]


def soften(boxes, scores, decay, groups=None, **options):
    kept, lowered = soft_suppress(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor([0] * len(scores) if groups is None else groups, dtype=torch.int64),
        decay,
        **options,
    )
    assert kept.dtype == torch.int64
    return kept.tolist(), pytest.approx(lowered.tolist(), abs=1e-6)


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_no_boxes_have_no_scores_to_lower(decay):
    assert soften([], [], decay) == ([], [])


def test_a_score_falls_by_the_overlap_above_the_threshold():
    # 0.8 * (1 - 6 / 10) = 0.32; 2 / 14 and 4 / 12 are below the threshold.
    assert soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear") == ([0, 2, 1, 3], [0.9, 0.7, 0.32, 0.1])
    # Above 0.3 the third meets the second as well, and takes from it: 0.32 * (1 - 4 / 12).
    kept = soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear", threshold=0.3)
    assert kept == ([0, 2, 1, 3], [0.9, 0.7, 0.32 * 2 / 3, 0.1])


def test_a_score_falls_by_a_gaussian_of_every_overlap():
    third = 0.7 * math.exp(-((2 / 14) ** 2) / 0.5)
    second = 0.8 * math.exp(-(0.6**2) / 0.5) * math.exp(-((4 / 12) ** 2) / 0.5)
    kept = soften(ROW, [0.9, 0.8, 0.7, 0.1], "gaussian")
    assert kept == ([0, 2, 1, 3], [0.9, third, second, 0.1])
    assert soften(ROW[:2], [0.9, 0.8], "gaussian", sigma=0.1) == ([0, 1], [0.9, 0.8 * math.exp(-3.6)])


def test_boxes_of_different_groups_leave_each_others_scores_alone():
    same = [[0, 0, 10, 10]] * 3
    assert soften(same, [0.5, 0.4, 0.3], "gaussian", [4, 9, 4]) == ([0, 1, 2], [0.5, 0.4, 0.3 * math.exp(-2)])


def test_boxes_whose_score_has_fallen_below_the_least_one_are_dropped():
    assert soften([[0, 0, 10, 10]] * 2, [0.5, 0.4], "linear") == ([0], [0.5])  # 0.4 * (1 - 1)
    assert soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear", min_score=0.33) == ([0, 2], [0.9, 0.7])
    assert soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear", min_score=0.31)[0] == [0, 2, 1]


def test_no_more_boxes_are_taken_than_asked_for():
    assert soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear", limit=2) == ([0, 2], [0.9, 0.7])
    assert soften(ROW, [0.9, 0.8, 0.7, 0.1], "linear", limit=9)[0] == [0, 2, 1, 3]


def test_inclusive_ends_count_in_the_overlap_that_lowers_a_score():
    # 4 and 2 px wide, the one inside the other: IoU 0.5 in each convention.
    assert soften([[0, 0, 4, 1], [0, 0, 2, 1]], [0.9, 0.8], "linear", threshold=0.4)[1] == [0.9, 0.4]
    kept = soften([[0, 0, 3, 0], [0, 0, 1, 0]], [0.9, 0.8], "linear", threshold=0.4, inclusive=True)
    assert kept[1] == [0.9, 0.4]


def voted(kept, boxes, scores, threshold, kept_groups=None, groups=None, **options):
    kept, boxes = (torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in (kept, boxes))
    kept_groups = torch.tensor(kept_groups or [0] * len(kept), dtype=torch.int64)
    groups = torch.tensor(groups or [0] * len(boxes), dtype=torch.int64)
    return vote(kept, kept_groups, boxes, torch.tensor(scores), groups, threshold, **options).tolist()


def test_no_boxes_have_no_votes():
    assert voted([], ROW, [0.9, 0.8, 0.7, 0.1], 0.8) == []
    assert voted(ROW[:1], [], [], 0.8) == ROW[:1]


def test_a_box_moves_to_the_mean_of_those_that_overlap_it_enough_weighted_by_score():
    # Weights of 3 to 1: (0 * 3 + 2 * 1) / 4 and (8 * 3 + 10 * 1) / 4.
    scores = [0.75, 0.25, 0.5, 0.5]
    assert voted(ROW[:1], ROW, scores, 0.55) == [[0.5, 0, 8.5, 1]]
    assert voted(ROW[:1], ROW, scores, 0.65) == ROW[:1]
    # An IoU equal to the threshold has a vote.
    assert voted([[0, 0, 4, 1]], [[0, 0, 4, 1], [0, 0, 2, 1]], [0.75, 0.25], 0.5) == [[0, 0, 3.5, 1]]


def test_a_box_votes_within_its_group_only():
    assert voted([ROW[0]] * 2, ROW[:2], [0.75, 0.25], 0.55, [3, 5], [3, 5]) == [ROW[0], ROW[1]]


def test_inclusive_ends_count_in_the_overlap_that_gives_a_vote():
    assert voted([[0, 0, 3, 0]], [[0, 0, 3, 0], [0, 0, 1, 0]], [0.5, 0.5], 0.5, inclusive=True) == [[0, 0, 2, 0]]
    assert voted([[0, 0, 3, 1]], [[0, 0, 3, 1], [0, 0, 1, 1]], [0.5, 0.5], 0.5) == [[0, 0, 3, 1]]
