"""Which anchors and RoIs train, by hand-made pictures."""

import torch

from panet.objective.targets import AnchorRule, RoIRule, anchor_labels, sample_anchors, sample_rois
from panet.structures import Target

SIZE = (60, 90)
NOTHING = torch.zeros(0, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def target(boxes=(), crowd=None, labels=None):
    count = len(boxes)
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or list(range(1, count + 1)), dtype=torch.int64),
        torch.zeros(count, *SIZE, dtype=torch.bool),
        torch.tensor(crowd or [False] * count, dtype=torch.bool),
        0,
    )


def judge(anchors, target, **rule):
    labels, index = anchor_labels(torch.tensor(anchors, dtype=torch.float32), target, SIZE, AnchorRule(**rule))
    return labels.tolist(), index.tolist()


def test_without_objects_every_anchor_inside_is_a_negative():
    assert judge([[0, 0, 10, 10], [80, 50, 90, 60], [85, 0, 95, 10]], target())[0] == [0, 0, -1]


def test_anchors_are_positive_ignored_or_negative_by_their_overlap():
    truth = target([(0, 0, 10, 10), (40, 40, 50, 50)])
    # IoU 1, 0.8 and 0.5 with the first; 0.2 and 0.25, its best, with the second; none.
    anchors = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [40, 40, 50, 42], [40, 40, 45, 45], [70, 0, 80, 10]]
    labels, index = judge(anchors, truth)
    assert labels == [1, 1, -1, 0, 1, 0]
    assert index[:5] == [0, 0, 0, 1, 1]


def test_thresholds_are_reached_from_above_and_from_below():
    truth = target([(0, 0, 10, 10)])
    best, half, quarter = [0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 5, 5]
    assert judge([best, half, quarter], truth, foreground_iou=0.5, background_iou=0.25)[0] == [1, 1, -1]
    assert judge([best, half, quarter], truth, foreground_iou=0.51, background_iou=0.26)[0] == [1, -1, 0]


def test_an_anchor_over_the_edge_is_ignored_or_not_as_the_straddle_says():
    truth = target([(0, 0, 10, 10)])
    anchors = [[-3, 0, 10, 10], [0, 0, 10, 8], [84, 50, 94, 60], [80, 50, 90, 63]]
    assert judge(anchors, truth, straddle=0.0)[0] == [-1, 1, -1, -1]
    assert judge(anchors, truth, straddle=3.0)[0] == [1, 1, -1, 0]
    assert judge(anchors, truth, straddle=None)[0] == [1, 1, 0, 0]


def test_a_crowd_is_never_positive_and_what_lies_in_it_never_negative():
    truth = target([(0, 0, 50, 50), (60, 10, 70, 20)], crowd=[True, False])
    inside, edge, beside, match = [5, 5, 15, 15], [46, 5, 56, 15], [70, 30, 80, 40], [60, 10, 70, 20]
    labels, index = judge([[0, 0, 50, 50], inside, edge, beside, match], truth)
    assert labels == [-1, -1, 0, 0, 1]
    assert index[4] == 1  # positions count the crowd


def test_a_picture_of_crowds_alone_has_no_positives():
    assert judge([[0, 0, 50, 50], [70, 30, 80, 40]], target([(0, 0, 50, 50)], crowd=[True]))[0] == [-1, 0]


def test_an_object_inside_a_crowd_still_has_its_anchor():
    truth = target([(0, 0, 50, 50), (10, 10, 20, 20)], crowd=[True, False])
    assert judge([[10, 10, 20, 20], [30, 30, 40, 40]], truth) == ([1, -1], [1, 1])


def test_anchors_are_sampled_by_the_rule():
    labels = torch.tensor([1] * 50 + [0] * 50 + [-1] * 50)
    drawn = sample_anchors(labels, AnchorRule(num_samples=20, positive_fraction=0.5), generator())
    assert (len(drawn.positive), len(drawn.negative)) == (10, 10)


def draw(proposals, truth, seed=0, **rule):
    boxes = torch.tensor(proposals, dtype=torch.float32).reshape(-1, 4)
    (rois,) = sample_rois([boxes], [truth], [SIZE], RoIRule(**rule), generator(seed))
    return rois


def test_without_proposals_and_objects_the_whole_picture_is_background():
    rois = draw([], target())
    assert (rois.boxes.tolist(), rois.labels.tolist(), rois.index.tolist()) == ([[0, 0, 90, 60]], [0], [0])
    assert rois.num_positive == 0


def test_without_objects_all_proposals_are_background():
    rois = draw([[0, 0, 10, 10], [20, 20, 30, 30]], target())
    assert (rois.labels.tolist(), rois.index.tolist()) == ([0, 0], [0, 0])


def test_the_objects_own_boxes_are_candidates():
    rois = draw([], target([(0, 0, 10, 10), (40, 40, 50, 50)], labels=[3, 2]))
    assert rois.boxes.tolist() == [[0, 0, 10, 10], [40, 40, 50, 50]]
    assert (rois.labels.tolist(), rois.index.tolist()) == ([3, 2], [0, 1])


def test_proposals_have_the_class_of_the_object_they_overlap_most_and_positives_come_first():
    truth = target([(0, 0, 10, 10), (40, 40, 50, 50)], labels=[3, 2])
    proposals = [[70, 0, 80, 10], [40, 40, 50, 46], [0, 0, 10, 5], [0, 0, 10, 4.9]]
    rois = draw(proposals, truth, num_samples=100, positive_fraction=1.0)
    assert rois.labels.tolist() == [3, 2, 2, 3, 0, 0]
    assert rois.index.tolist() == [0, 1, 1, 0, 0, 0]
    assert rois.num_positive == 4
    assert rois.boxes[2:].tolist() == [proposals[1], proposals[2], proposals[0], torch.tensor(proposals[3]).tolist()]


def test_the_limits_of_the_rule_hold():
    truth = target([(0, 0, 10, 10)] * 30, labels=[1] * 30)
    rois = draw([[50, 0, 60, 10]] * 100, truth, num_samples=16, positive_fraction=0.25)
    assert len(rois.labels) == 16
    assert rois.num_positive == 4


def test_crowds_are_no_rois_and_what_lies_in_them_is_no_background():
    truth = target([(0, 0, 50, 50), (60, 10, 70, 20)], crowd=[True, False], labels=[1, 2])
    rois = draw([[5, 5, 15, 15], [0, 0, 50, 50], [70, 30, 80, 40], [60, 10, 70, 19]], truth, positive_fraction=1.0)
    assert rois.boxes.tolist() == [[60, 10, 70, 20], [60, 10, 70, 19], [70, 30, 80, 40]]
    assert rois.labels.tolist() == [2, 2, 0]
    assert rois.index.tolist() == [1, 1, 0]


def test_a_picture_whose_proposals_all_lie_in_a_crowd_still_has_a_roi():
    rois = draw([[5, 5, 15, 15]], target([(0, 0, 50, 50)], crowd=[True]))
    assert (rois.boxes.tolist(), rois.labels.tolist()) == ([[0, 0, 90, 60]], [0])


def test_a_seed_repeats_its_draw():
    truth = target([(0, 0, 10, 10)])
    proposals = [[x, 20, x + 10, 30] for x in range(60)]
    first, same, other = (draw(proposals, truth, seed, num_samples=8) for seed in (1, 1, 2))
    assert torch.equal(first.boxes, same.boxes)
    assert not torch.equal(first.boxes, other.boxes)


def test_pictures_do_not_mix():
    truths = [target([(0, 0, 10, 10)], labels=[3]), target()]
    proposals = [NOTHING, torch.tensor([[20.0, 20, 30, 30]])]
    first, second = sample_rois(proposals, truths, [SIZE] * 2, RoIRule(), generator())
    assert first.labels.tolist() == [3]
    assert second.boxes.tolist() == [[20, 20, 30, 30]]
