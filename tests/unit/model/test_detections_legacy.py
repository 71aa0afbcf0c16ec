import pytest
import torch

from panet.model.box_head import BoxOutput
from panet.model.detections import DetectionRule, select_detections, to_image
from panet.structures import Detections

# Far apart, so that none suppresses another.
PROPOSALS = torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [40.0, 0.0, 49.0, 9.0]])


def output(scores):
    foreground = torch.tensor(scores)
    logits = torch.stack((1 - foreground, foreground), dim=1).log()
    return BoxOutput(logits, torch.zeros(len(scores), 2, 4))


@pytest.mark.parametrize(("scores", "count"), [([0.9, 0.8, 0.8], 3), ([0.9, 0.8, 0.7], 2), ([0.9, 0.04, 0.04], 1)])
def test_all_that_tie_with_the_last_are_kept_where_asked_for(scores, count):
    rule = DetectionRule(max_detections=2, inclusive=True, keep_ties=True)
    (found,) = select_detections(output(scores), [PROPOSALS], [(50, 50)], rule)
    assert len(found) == count
    (found,) = select_detections(output(scores), [PROPOSALS], [(50, 50)], DetectionRule(max_detections=2))
    assert len(found) <= 2


def test_nothing_is_found_in_nothing():
    rule = DetectionRule(inclusive=True, keep_ties=True)
    (found,) = select_detections(output([0.01] * 3), [PROPOSALS], [(50, 50)], rule, [(2.0, 2.0)])
    assert found.boxes.shape == (0, 4)
    assert found.inclusive


def test_with_scales_boxes_are_decoded_and_clipped_in_image_px():
    rule = DetectionRule(inclusive=True)
    deltas = torch.zeros(1, 2, 4)
    deltas[..., 2:] = 5 * torch.tensor(2.0).log()  # twice the sides
    logits = torch.tensor([[0.0, 5.0]])
    box = torch.tensor([[20.0, 20.0, 38.0, 38.0]])  # image px: 10 .. 19, ten pixels a side
    (found,) = select_detections(BoxOutput(logits, deltas), [box], [(24, 100)], rule, [(2.0, 2.0)])
    # Image px: twenty pixels a side, 5 .. 24, the picture's last row is 23.
    assert torch.allclose(found.boxes, 2 * torch.tensor([[5.0, 5.0, 24.0, 23.0]]), atol=1e-5)


def test_a_factor_counts_in_place_of_rounded_sizes():
    found = Detections(torch.tensor([[12.8, 0.0, 25.6, 12.8]]), torch.ones(1), torch.ones(1).long(), inclusive=True)
    carried = to_image(found, (128, 179), (100, 140), 1.28)
    assert torch.allclose(carried.boxes, torch.tensor([[10.0, 0.0, 20.0, 10.0]]))
    assert carried.inclusive
    edge = to_image(found, (128, 179), (5, 15), 1.28)
    assert edge.boxes[0, 2:].tolist() == [14.0, 4.0]
