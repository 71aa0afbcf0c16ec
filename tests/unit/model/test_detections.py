"""Box output -> detections by hand values; frames; grids."""

from dataclasses import replace

import pytest
import torch

from panet.model.box_head import BoxOutput
from panet.model.detections import (
    BOX_WEIGHTS,
    DetectionRule,
    best_of,
    decode_candidates,
    select_detections,
    to_image,
    with_mask_grids,
)
from panet.ops.boxes import encode
from panet.structures import Detections

PROPOSALS = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40], [60, 10, 80, 30]])


def probabilities(*rows):
    return torch.tensor(rows, dtype=torch.float32).log()


def select(logits, deltas=None, proposals=PROPOSALS, size=(50, 90), **rule):
    deltas = torch.zeros(len(logits), logits.shape[1], 4) if deltas is None else deltas
    (found,) = select_detections(BoxOutput(logits, deltas), [proposals], [size], DetectionRule(**rule))
    return found


def test_no_proposals_give_shaped_empties():
    found = select(torch.zeros(0, 4), proposals=torch.zeros(0, 4))
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
    assert found.labels.dtype == torch.int64


def test_detections_come_best_first_with_labels_from_1_and_never_the_background():
    found = select(probabilities([0.98, 0.01, 0.01], [0.1, 0.2, 0.7], [0.05, 0.9, 0.05]), score_threshold=0.15)
    assert found.labels.tolist() == [1, 2, 1]
    assert found.boxes.tolist() == PROPOSALS[[2, 1, 1]].tolist()
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.2]))
    assert found.mask_grids is None


def test_a_score_must_be_above_the_threshold():
    logits = torch.zeros(1, 2)  # 0.5 exactly
    assert len(select(logits, proposals=PROPOSALS[:1], score_threshold=0.5)) == 0
    assert len(select(logits, proposals=PROPOSALS[:1], score_threshold=0.49)) == 1


def test_the_best_of_all_classes_remain():
    found = select(probabilities([0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]), max_detections=2)
    assert found.labels.tolist() == [1, 2]


def test_boxes_of_one_class_suppress_each_other_and_those_of_two_do_not():
    proposals = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    found = select(probabilities([0.1, 0.6, 0.3], [0.1, 0.5, 0.4]), proposals=proposals)
    assert list(zip(found.labels.tolist(), found.boxes[:, 3].tolist(), strict=True)) == [(1, 10), (2, 9)]


def test_each_class_has_a_box_of_its_own_which_is_clipped():
    deltas = torch.zeros(1, 3, 4)
    wanted = torch.tensor([[-5.0, 2, 8, 70]])
    deltas[:, 2] = encode(wanted, PROPOSALS[:1], weights=BOX_WEIGHTS)
    found = select(probabilities([0.1, 0.3, 0.6]), deltas, PROPOSALS[:1])
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 2, 8, 50], [0, 0, 10, 10]]))


def test_a_box_that_clipping_empties_is_dropped():
    proposals = torch.tensor([[95.0, 0, 120, 10], [0, 0, 10, 10]])
    assert select(probabilities([0.1, 0.9], [0.2, 0.8]), proposals=proposals).boxes.tolist() == [[0, 0, 10, 10]]


def test_each_picture_gets_the_detections_of_its_own_proposals():
    logits = probabilities([0.1, 0.9], [0.2, 0.8], [0.3, 0.7])
    output = BoxOutput(logits, torch.zeros(3, 2, 4))
    first, second, third = select_detections(
        output, [PROPOSALS[:1], PROPOSALS[:0], PROPOSALS[1:]], [(50, 90)] * 3, DetectionRule()
    )
    assert first.boxes.tolist() == PROPOSALS[:1].tolist()
    assert len(second) == 0
    assert third.boxes.tolist() == PROPOSALS[1:].tolist()


def test_a_detection_gets_the_grid_of_its_own_picture():
    logits = torch.tensor([2.0, 5.0, 11.0]).reshape(3, 1, 1).expand(3, 2, 2)
    boxes, scores = torch.zeros(3, 4), torch.ones(3)
    labels = torch.tensor([2, 1, 3])
    first, second = (Detections(boxes[part], scores[part], labels[part]) for part in (slice(0, 1), slice(1, 3)))
    one, two = with_mask_grids([first, second], logits)
    torch.testing.assert_close(one.mask_grids, torch.full((1, 2, 2), 2.0).sigmoid())
    torch.testing.assert_close(two.mask_grids[:, 0, 0], torch.tensor([5.0, 11.0]).sigmoid())


def test_no_detections_get_no_grids_of_the_right_size():
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    (found,) = with_mask_grids([nothing], torch.zeros(0, 28, 28))
    assert found.mask_grids.shape == (0, 28, 28)


def test_boxes_are_carried_to_the_original_picture_and_clipped_to_it():
    grids = torch.rand(2, 3, 3)
    boxes = torch.tensor([[10.0, 20, 30, 40], [0, 0, 61, 51]])
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 2]), grids)
    carried = to_image(found, (50, 60), (100, 240))
    assert carried.boxes.tolist() == [[40, 40, 120, 80], [0, 0, 240, 100]]
    assert carried.scores is found.scores
    assert carried.labels is found.labels
    assert carried.mask_grids is grids
    assert found.boxes is boxes  # arguments are not written to


OVERLAPPING = Detections(
    torch.tensor([[0.0, 0, 8, 1], [2, 0, 10, 1], [50, 0, 58, 1]]),
    torch.tensor([0.8, 0.4, 0.5]),
    torch.tensor([1, 1, 2]),
)  # the first two by 6 / 10


def test_nothing_is_the_best_of_nothing():
    for rule in (DetectionRule(), DetectionRule(soft_nms="linear", box_voting=0.5, keep_ties=True)):
        assert best_of(OVERLAPPING[:0], rule).boxes.shape == (0, 4)


def test_soft_nms_lowers_scores_where_hard_suppression_drops_boxes():
    assert best_of(OVERLAPPING, DetectionRule()).scores.tolist() == pytest.approx([0.8, 0.5])
    found = best_of(OVERLAPPING, DetectionRule(soft_nms="linear"))
    assert found.scores.tolist() == pytest.approx([0.8, 0.5, 0.4 * 0.4])
    assert found.labels.tolist() == [1, 2, 1]
    found = best_of(OVERLAPPING, DetectionRule(soft_nms="linear", nms_threshold=0.7, max_detections=2))
    assert found.scores.tolist() == pytest.approx([0.8, 0.5])
    ties = DetectionRule(soft_nms="linear", nms_threshold=0.7, max_detections=2, keep_ties=True)
    assert len(best_of(replace(OVERLAPPING, scores=torch.tensor([0.8, 0.5, 0.5])), ties)) == 3


def test_a_lowered_score_must_be_above_the_least_one():
    assert len(best_of(OVERLAPPING, DetectionRule(soft_nms="linear", min_score=0.15))) == 3
    assert len(best_of(OVERLAPPING, DetectionRule(soft_nms="linear", min_score=0.17))) == 2


def test_voting_moves_boxes_by_what_suppression_dropped_and_leaves_scores():
    found = best_of(OVERLAPPING, DetectionRule(box_voting=0.55))
    torch.testing.assert_close(found.boxes[0], torch.tensor([2 / 3, 0, 26 / 3, 1]))  # weights 0.8 and 0.4
    assert found.boxes[1].tolist() == [50, 0, 58, 1]
    assert found.scores.tolist() == pytest.approx([0.8, 0.5])


def test_candidates_are_all_boxes_above_the_threshold_whether_or_not_they_overlap():
    output = BoxOutput(probabilities([0.2, 0.3, 0.5], [0.1, 0.8, 0.1]), torch.zeros(2, 3, 4))
    rule = DetectionRule(score_threshold=0.2)
    (found,) = decode_candidates(output, [PROPOSALS[[0, 0]]], [(50, 90)], rule)
    assert found.labels.tolist() == [1, 2, 1]
    assert found.boxes.tolist() == PROPOSALS[[0, 0, 0]].tolist()
