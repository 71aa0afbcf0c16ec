"""The five losses of a small network on small pictures."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from panet.config import ObjectiveConfig, PoolingConfig
from panet.model.build import build_model
from panet.model.detections import BOX_WEIGHTS
from panet.model.rpn import RPNOutput
from panet.objective.box_loss import box_loss
from panet.objective.build import build_objective
from panet.objective.objective import Objective
from panet.objective.targets import anchor_labels, sample_rois
from panet.ops.boxes import decode, encode
from panet.ops.winograd import can_convolve
from panet.structures import Batch

NAMES = ["objectness", "rpn_box", "class", "box", "mask"]


@pytest.fixture
def build(tiny_config):
    def make(objective=None, **changes):
        config = tiny_config(**changes)
        return build_objective(build_model(config).train(), objective or ObjectiveConfig(roi_samples=16), config.rpn)

    return make


def judge(objective, batch, seed=0):
    return objective(batch, torch.Generator().manual_seed(seed))


def values(losses):
    return {name: loss.item() for name, loss in losses.items()}


def backward(losses):
    torch.stack(list(losses.values())).sum().backward()


def without_gradient(objective):
    return [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]


CASES = {
    "objects": {},
    "no objects": {"boxes": ()},
    "crowds alone": {"crowd": (True, True)},
    "one crowd": {"crowd": (True, False)},
}


@pytest.mark.parametrize("case", CASES)
def test_losses_are_finite_scalars_and_every_parameter_has_a_gradient(build, make_batch, case):
    objective = build()
    losses = judge(objective, make_batch(**CASES[case]))
    assert list(losses) == NAMES
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
    backward(losses)
    assert not without_gradient(objective)
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


@pytest.mark.parametrize("levels", ["all", "assigned"])
def test_without_objects_boxes_and_masks_cost_nothing_and_leave_their_layers_alone(build, make_batch, levels):
    objective = build(pooling=PoolingConfig(levels=levels))
    losses = judge(objective, make_batch(boxes=()))
    assert (losses["rpn_box"], losses["box"], losses["mask"]) == (0, 0, 0)
    backward(losses)
    assert not without_gradient(objective)
    assert not any(p.grad.any() for p in objective.model.mask_head.parameters())
    assert not objective.model.box_head.deltas.weight.grad.any()
    assert objective.model.box_head.class_logits.weight.grad.any()


def test_without_proposals_and_objects_the_losses_are_finite_too(build, make_batch):
    objective = build()
    rule = objective.proposal_rule
    objective.proposal_rule = type(rule)(rule.num_before_nms, rule.num_after_nms, rule.nms_threshold, min_side=1e9)
    losses = judge(objective, make_batch(num_images=1, boxes=()))
    assert all(loss.isfinite() for loss in losses.values())
    backward(losses)
    assert not without_gradient(objective)


def test_one_picture_of_a_batch_may_be_empty(build, make_batch):
    full, empty = make_batch(), make_batch(boxes=())
    losses = judge(build(), Batch(full.images, (empty.targets[0], full.targets[1])))
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["mask"] > 0


def test_without_a_mask_branch_there_is_no_mask_loss(build, make_batch):
    assert list(judge(build(mask_head=None), make_batch())) == NAMES[:4]


def test_a_seed_gives_the_same_losses_bit_for_bit_and_leaves_the_global_generator_alone(build, make_batch):
    objective, batch, before = build(), make_batch(), torch.get_rng_state()
    first, same, other = (values(judge(objective, batch, seed)) for seed in (5, 5, 6))
    assert first == same
    assert first != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("case", CASES)
def test_the_anchors_that_train_alone_give_the_losses_and_gradients_of_all(build, make_batch, case):
    objective, found = build().double(), []
    batch = make_batch(**CASES[case])
    batch = replace(batch, images=replace(batch.images, tensor=batch.images.tensor.double()))
    for objective.whole_rpn in (True, False):
        objective.zero_grad()
        losses = judge(objective, batch)
        backward(losses)
        found.append((*losses.values(), *(p.grad for p in objective.parameters() if p.requires_grad)))
    for whole, few in zip(*found, strict=True):
        torch.testing.assert_close(few, whole)


def test_the_compiled_convs_give_the_losses_and_gradients_of_torch(build, make_batch):
    objective, found = build(), []
    batch = make_batch(num_images=4)  # P2 has pixels enough
    for objective.fast_convs in (True, False):
        objective.zero_grad()
        losses = judge(objective, batch)
        (losses["objectness"] + losses["rpn_box"]).backward()
        found.append(
            (losses["objectness"], losses["rpn_box"], *(p.grad for p in objective.model.top_down.parameters()))
        )
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6)
    was_taken = not all(map(torch.equal, *found))
    assert was_taken == can_convolve(torch.zeros(16, 16, 3, 3), torch.float32)


def test_eval_mode_gives_the_same_losses_as_train_mode(build, make_batch):
    objective, batch = build(), make_batch()
    trained = values(judge(objective.train(), batch))
    assert values(judge(objective.eval(), batch)) == trained


def test_arguments_are_not_written_to(build, make_batch):
    batch, untouched = make_batch(), make_batch()
    judge(build(), batch)
    assert torch.equal(batch.images.tensor, untouched.images.tensor)
    for one, other in zip(batch.targets, untouched.targets, strict=True):
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.masks, other.masks)


def test_guesses_at_random_cost_what_chance_costs(build, make_batch):
    # Weights start small: objectness is ln 2 where all samples are drawn, class ln (K + 1).
    objective = build(ObjectiveConfig(rpn_samples=32, roi_samples=16))
    nn.init.zeros_(objective.model.rpn.objectness.weight)
    nn.init.zeros_(objective.model.box_head.class_logits.weight)
    losses = values(judge(objective, make_batch()))
    assert losses["objectness"] == pytest.approx(math.log(2), rel=1e-5)
    assert losses["class"] == pytest.approx(math.log(4), rel=1e-5)


class PerfectRPN(nn.Module):
    """Says of every anchor what the targets say, as surely as asked for."""

    def __init__(self, objective, batch, sure=20.0):
        super().__init__()
        self.objective, self.batch, self.sure = objective, batch, sure
        self.head = objective.model.rpn

    def forward(self, n):
        output = self.head(n)
        anchors = self.objective.model.anchors(output, self.batch.images)
        objectness, deltas = {}, {}
        every = torch.cat(list(anchors.values()))
        logits, shifts = [], []
        for target, size in zip(self.batch.targets, self.batch.images.sizes, strict=True):
            labels, index = anchor_labels(every, target, size, self.objective.anchor_rule)
            logits.append(torch.where(labels == 1, self.sure, -self.sure))
            shifts.append(encode(target.boxes[index], every))
        start = 0
        for k, anchor in anchors.items():
            part = slice(start, start + len(anchor))
            objectness[k] = torch.stack(logits)[:, part]
            deltas[k] = torch.stack(shifts)[:, part]
            start += len(anchor)
        return RPNOutput(objectness, deltas, output.grid_sizes)


def test_a_perfect_rpn_has_no_loss_and_a_stubborn_one_much(build, make_batch):
    objective, batch = build(), make_batch()
    objective.whole_rpn = True
    objective.model.rpn = PerfectRPN(objective, batch)
    losses = values(judge(objective, batch))
    assert losses["objectness"] < 1e-6
    assert losses["rpn_box"] < 1e-9
    objective.model.rpn.sure = -20.0
    assert values(judge(objective, batch))["objectness"] > 1


def test_the_box_head_learns_the_deltas_that_detection_decodes(build, make_batch, monkeypatch):
    objective, batch, rois, learned = build(), make_batch(num_images=1), [], []
    near = torch.tensor([[8.0, 3, 44, 37], [25, 22, 82, 50]])  # IoU above 0.5 with the first and the second object

    def keep_rois(*arguments):
        rois.extend(sample_rois(*arguments))
        return rois

    def keep_targets(deltas, labels, targets, beta):
        learned.append(targets)
        return box_loss(deltas, labels, targets, beta)

    monkeypatch.setattr("panet.objective.objective.propose", lambda *arguments: [near])
    monkeypatch.setattr("panet.objective.objective.sample_rois", keep_rois)
    monkeypatch.setattr("panet.objective.objective.box_loss", keep_targets)
    judge(objective, batch)
    (sampled,), (targets,) = rois, learned
    assert sampled.num_positive == len(targets) == 4
    boxes = decode(targets, sampled.boxes, weights=BOX_WEIGHTS)
    torch.testing.assert_close(boxes, batch.targets[0].boxes[sampled.index], rtol=0, atol=1e-4)


@pytest.mark.parametrize("limit", [1, 3, None])
def test_the_masks_that_train_are_limited_for_each_picture(build, make_batch, limit, monkeypatch):
    objective = build(ObjectiveConfig(roi_samples=16, roi_positive_fraction=0.5, mask_samples=limit))
    seen = []
    forward = type(objective.model.mask_head).forward

    def count(head, n, boxes):
        seen.extend(len(each) for each in boxes)
        return forward(head, n, boxes)

    monkeypatch.setattr(type(objective.model.mask_head), "forward", count)
    rows = tuple((5 + i, 5, 40 + i, 40) for i in range(5))
    judge(objective, make_batch(boxes=rows, labels=(1,) * 5, crowd=(False,) * 5))
    assert len(seen) == 2
    assert seen == [limit] * 2 if limit else min(seen) >= 5


def test_crowds_and_what_lies_in_them_take_no_part(build, make_batch, monkeypatch):
    objective = build(ObjectiveConfig(roi_samples=1000, rpn_samples=10**6))
    drawn = []
    box_losses = Objective._box_losses

    def spy(self, n, rois, targets):
        drawn.extend(rois)
        return box_losses(self, n, rois, targets)

    monkeypatch.setattr(Objective, "_box_losses", spy)
    losses = judge(objective, make_batch(num_images=1, boxes=((0, 0, 90, 60),), labels=(2,), crowd=(True,)))
    (rois,) = drawn
    assert rois.labels.tolist() == [0]  # every proposal lies in the crowd; the picture itself stands in
    assert (losses["objectness"], losses["box"], losses["mask"]) == (0, 0, 0)


def test_the_order_of_the_objects_does_not_change_the_losses_where_nothing_is_drawn(build, make_batch):
    objective = build(ObjectiveConfig(roi_samples=10**6, rpn_samples=10**6))
    rows, labels = ((5, 5, 40, 40), (30, 20, 80, 55), (50, 2, 70, 18)), (1, 3, 2)
    order = (2, 0, 1)
    flags = (False,) * 3
    first = values(judge(objective, make_batch(boxes=rows, labels=labels, crowd=flags)))
    shuffled = make_batch(boxes=tuple(rows[i] for i in order), labels=tuple(labels[i] for i in order), crowd=flags)
    assert values(judge(objective, shuffled)) == pytest.approx(first, rel=1e-5)


def test_the_settings_arrive(tiny_config):
    config = tiny_config()
    settings = ObjectiveConfig(
        rpn_samples=11, rpn_positive_fraction=0.4, rpn_foreground_iou=0.6, rpn_background_iou=0.2, rpn_beta=0.5,
        anchor_straddle=None, roi_samples=13, roi_positive_fraction=0.3, roi_foreground_iou=0.55, box_beta=0.7,
        mask_samples=5,
    )  # fmt: skip
    objective = build_objective(build_model(config), settings, config.rpn)
    anchor, roi, proposal = objective.anchor_rule, objective.roi_rule, objective.proposal_rule
    assert (anchor.num_samples, anchor.positive_fraction) == (11, 0.4)
    assert (anchor.foreground_iou, anchor.background_iou, anchor.straddle) == (0.6, 0.2, None)
    assert (roi.num_samples, roi.positive_fraction, roi.foreground_iou) == (13, 0.3, 0.55)
    assert (proposal.num_before_nms, proposal.num_after_nms, proposal.nms_threshold) == (40, 20, 0.7)
    assert (objective.rpn_beta, objective.box_beta, objective.mask_samples) == (0.5, 0.7, 5)
