"""The RPN's order of anchors, and proposals by hand values."""

import pytest
import torch

from panet.model.proposals import ProposalRule, anchors_of, propose
from panet.model.rpn import RPNHead, RPNOutput


def test_output_runs_by_row_then_column_then_anchor():
    head = RPNHead(2, 3)
    n = {2: torch.randn(2, 2, 4, 5), 6: torch.randn(2, 2, 1, 1)}
    output = head(n)
    assert {k: tuple(x.shape) for k, x in output.objectness.items()} == {2: (2, 60), 6: (2, 3)}
    assert {k: tuple(x.shape) for k, x in output.deltas.items()} == {2: (2, 60, 4), 6: (2, 3, 4)}
    assert output.grid_sizes == {2: (4, 5), 6: (1, 1)}
    hidden = head.conv(n[2]).relu()
    y, x, anchor = 3, 1, 2
    place = (y * 5 + x) * 3 + anchor
    torch.testing.assert_close(output.objectness[2][1, place], head.objectness(hidden)[1, anchor, y, x])
    torch.testing.assert_close(output.deltas[2][1, place], head.deltas(hidden)[1, 4 * anchor : 4 * anchor + 4, y, x])


def test_all_levels_share_one_head():
    head, x = RPNHead(2, 3), torch.randn(1, 2, 4, 4)
    output = head({2: x, 3: x})
    assert torch.equal(output.objectness[2], output.objectness[3])


@pytest.mark.parametrize("num_convs", [1, 2])
def test_a_few_anchors_are_judged_as_with_all_the_others_at_the_edges_of_a_map_too(num_convs):
    generator = torch.Generator().manual_seed(0)
    head = RPNHead(4, 3, num_convs).double()
    torch.nn.init.normal_(head.conv.bias, generator=generator)
    sides = {2: (5, 4), 3: (3, 2), 4: (1, 1)}
    n = {k: torch.randn(2, 4, *side, generator=generator, dtype=torch.float64) for k, side in sides.items()}
    found = []
    for few in (False, True):
        levels = {k: x.clone().requires_grad_() for k, x in n.items()}
        head.zero_grad()
        chosen = [torch.arange(81), torch.tensor([80, 0, 61, 61, 78])]
        if few:
            objectness, deltas = head.at(levels, chosen)
        else:
            output = head(levels)
            whole = [torch.cat(list(each.values()), dim=1) for each in output[:2]]
            objectness, deltas = ([each[i, index] for i, index in enumerate(chosen)] for each in whole)
        every = [*objectness, *deltas]
        sum((each * torch.arange(each.numel()).view_as(each).sin()).sum() for each in every).backward()
        found.append((*every, *(x.grad for x in levels.values()), *(p.grad for p in head.parameters())))
    for whole, part in zip(*found, strict=True):
        assert whole.any()
        torch.testing.assert_close(part, whole)


def test_no_anchors_at_all_are_judged_without_fuss():
    head = RPNHead(4, 3)
    objectness, deltas = head.at({2: torch.zeros(1, 4, 2, 2)}, [torch.zeros(0, dtype=torch.int64)])
    assert [each.shape for each in (*objectness, *deltas)] == [(0,), (0, 4)]
    (objectness[0].sum() + deltas[0].sum()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_anchors_stand_at_strides_of_a_power_of_two():
    cells = {2: torch.tensor([[-1.0, -1, 1, 1]]), 6: torch.tensor([[-8.0, -8, 8, 8]])}
    anchors = anchors_of(cells, {2: (1, 2), 6: (2, 1)})
    assert anchors[2].tolist() == [[-1, -1, 1, 1], [3, -1, 5, 1]]
    assert anchors[6].tolist() == [[-8, -8, 8, 8], [-8, 56, 8, 72]]


def test_anchors_stand_where_torchvision_infers_them_if_asked_to():
    # 416 px wide with a map of 7 columns on level 6: stride 59.
    anchors = anchors_of({6: torch.zeros(1, 4)}, {6: (5, 7)}, padded=(320, 416))
    assert anchors[6][1].tolist() == [59, 0, 59, 0]
    assert anchors[6][7].tolist() == [0, 64, 0, 64]


def one_level(scores, boxes, k=2):
    """An RPN output that gives these boxes on one level, by deltas of 0 on anchors that are the boxes."""
    anchors = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {k: torch.tensor([scores], dtype=torch.float32)}, {k: torch.zeros(1, len(anchors), 4)}, {k: anchors}


def run(scores, boxes, size=(100, 100), **rule):
    objectness, deltas, anchors = one_level(scores, boxes)
    rule = {"num_before_nms": 10, "num_after_nms": 10, **rule}
    (found,) = propose(RPNOutput(objectness, deltas, {2: (1, 1)}), anchors, [size], ProposalRule(**rule))
    return found.tolist()


FAR = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]


def test_proposals_come_best_first():
    assert run([-1, 2, 0.5], FAR) == [FAR[1], FAR[2], FAR[0]]


def test_the_best_of_each_level_are_decoded_and_the_best_of_all_remain():
    assert run([-1, 2, 0.5], FAR, num_before_nms=2) == [FAR[1], FAR[2]]
    assert run([-1, 2, 0.5], FAR, num_after_nms=1) == [FAR[1]]


def test_proposals_are_clipped_to_the_picture_not_to_the_padding():
    assert run([1], [[-5, 10, 95, 99]], size=(50, 60)) == [[0, 10, 60, 50]]


def test_a_proposal_outside_of_the_picture_is_dropped():
    assert run([1, 0], [[70, 0, 90, 10], [0, 0, 10, 10]], size=(50, 60)) == [[0, 0, 10, 10]]


def test_without_a_proposal_there_is_a_shaped_empty():
    objectness, deltas, anchors = one_level([1], [[70, 0, 90, 10]])
    (found,) = propose(RPNOutput(objectness, deltas, {2: (1, 1)}), anchors, [(50, 60)], ProposalRule(5, 5))
    assert found.shape == (0, 4)


def test_overlapping_proposals_suppress_each_other_within_a_level_only():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9]]
    assert run([1, 2], boxes) == [boxes[1]]
    both = [one_level([1], [boxes[0]], 2), one_level([2], [boxes[1]], 3)]
    objectness, deltas, anchors = ({**a, **b} for a, b in zip(*both, strict=True))
    (found,) = propose(RPNOutput(objectness, deltas, {}), anchors, [(50, 60)], ProposalRule(5, 5))
    assert found.tolist() == [boxes[1], boxes[0]]


def test_each_picture_has_its_own_proposals_within_its_own_size():
    anchors = {2: torch.tensor(FAR, dtype=torch.float32)}
    objectness = {2: torch.tensor([[3.0, 2, 1], [1, 2, 3]])}
    deltas = {2: torch.zeros(2, 3, 4)}
    first, second = propose(RPNOutput(objectness, deltas, {}), anchors, [(100, 100), (100, 45)], ProposalRule(5, 2))
    assert first.tolist() == [FAR[0], FAR[1]]
    assert second.tolist() == [[40, 0, 45, 10], FAR[1]]


@pytest.mark.parametrize("requires_grad", [False, True])
def test_proposals_carry_no_gradient_of_scores_or_deltas(requires_grad):
    objectness, deltas, anchors = one_level([1, 2, 3], FAR)
    deltas[2].requires_grad_(requires_grad)
    (found,) = propose(RPNOutput(objectness, deltas, {}), anchors, [(100, 100)], ProposalRule(5, 5))
    assert not found.requires_grad
