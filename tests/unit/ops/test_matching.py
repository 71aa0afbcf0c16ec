"""Matching by hand values, and in chunks against one dense matrix."""

import pytest
import torch

from panet.ops.boxes import iou
from panet.ops.matching import best_overlap


def random_boxes(count, seed, side=40.0):
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(count, 2, generator=generator) * 200
    return torch.cat((start, start + 1 + torch.rand(count, 2, generator=generator) * side), dim=1)


def test_without_boxes_or_without_truth_there_is_no_overlap():
    none, some = torch.zeros(0, 4), random_boxes(3, 0)
    assert [tuple(part.shape) for part in best_overlap(some, none)] == [(0,), (0,), (0,)]
    alone = best_overlap(none, some)
    assert alone.iou.tolist() == [0, 0, 0]
    assert alone.matched.tolist() == [0, 0, 0]
    assert alone.is_best.tolist() == [False, False, False]


def test_each_box_has_the_object_it_overlaps_most():
    truth = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [8, 0, 18, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    best = best_overlap(truth, boxes)
    torch.testing.assert_close(best.iou, torch.tensor([1, 80 / 120, 80 / 120, 0]))
    assert best.matched.tolist() == [0, 1, 0, 0]
    assert best.is_best.tolist() == [True, True, False, False]


def test_all_boxes_that_tie_for_an_object_are_its_best():
    truth = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[-5.0, 0, 5, 10], [5, 0, 15, 10], [6, 0, 16, 10]])
    assert best_overlap(truth, boxes).is_best.tolist() == [True, True, False]


def test_an_object_that_nothing_overlaps_has_no_best():
    best = best_overlap(torch.tensor([[100.0, 100, 110, 110], [5, 5, 5, 5]]), random_boxes(4, 1, side=5) % 50)
    assert not best.is_best.any()


@pytest.mark.parametrize("num_objects", [1, 63, 64, 65, 128, 200])
def test_chunks_give_what_one_matrix_gives(num_objects):
    truth, boxes = random_boxes(num_objects, num_objects), random_boxes(300, 7)
    truth[-1] = boxes[0]  # the last chunk has a best of its own
    if num_objects > 64:
        truth[64] = truth[0]  # a tie between chunks: the first object keeps the box
    matrix = iou(truth, boxes)
    overlap, matched = matrix.max(dim=0)
    top = matrix.amax(dim=1, keepdim=True)
    best = best_overlap(truth, boxes)
    assert torch.equal(best.iou, overlap)
    assert torch.equal(best.matched, torch.where(overlap > 0, matched, 0))
    assert torch.equal(best.is_best, ((matrix == top) & (top > 0)).any(dim=0))
