"""The losses against the official ones (fixture 09)."""

import torch

from panet.objective.box_loss import box_loss, class_loss
from panet.objective.mask_loss import mask_loss
from panet.objective.rpn_loss import AnchorTargets, objectness_loss, rpn_box_loss

NAME = "09 losses"


def by_anchor(x, values):
    """Official layout (A * values, H, W) -> (H * W * A, values)."""
    height, width = x.shape[-2:]
    return x.reshape(-1, values, height, width).permute(2, 3, 0, 1).reshape(-1, values)


def test_the_box_head_losses_equal_the_official_ones(oracle, same):
    recorded = oracle("09")
    labels = recorded["in.labels"].long()
    same(NAME, "loss_cls", class_loss(recorded["in.cls_logits"], labels)[None], recorded["out.loss_cls"], atol=1e-6)
    targets = recorded["in.bbox_targets_compact"][labels > 0, 1:]
    loss = box_loss(recorded["in.bbox_pred"].unflatten(1, (-1, 4)), labels, targets)
    same(NAME, "loss_bbox", loss[None], recorded["out.loss_bbox"], atol=1e-6)


def test_the_mask_loss_equals_the_official_one(oracle, same):
    recorded = oracle("09")
    logits = recorded["in.mask_logits"]
    expanded = recorded["in.mask_targets_expanded"].reshape(len(logits), -1, 14 * 14)
    labels = (expanded >= 0).all(dim=2).float().argmax(dim=1)  # the one class that is not -1
    targets = recorded["in.mask_targets14"].reshape(-1, 14, 14).float()
    same(NAME, "loss_mask", mask_loss(logits, labels, targets)[None], recorded["out.loss_mask"], atol=1e-6)


def test_the_rpn_losses_equal_the_official_ones_on_each_level(oracle, same):
    recorded = oracle("09")
    pictures = range(2)
    # A picture's box loss is divided by all anchors sampled in it, over its levels: that number's inverse, and
    # the number of pictures, stand in the recorded outside weights.
    for level, k in enumerate((2, 3, 4, 5, 6)):
        logits, deltas = recorded[f"in.rpn.logits{k}"], recorded[f"in.rpn.deltas{k}"]
        height, width = logits.shape[-2:]
        targets, weights = [], []
        for image in pictures:
            label = by_anchor(recorded[f"in.rpn.labels_wide{k}"][image][:, :height, :width], 1)[:, 0]
            wide = recorded[f"in.rpn.targets_wide{k}"][image][:, :height, :width]
            positive, negative = (label == 1).nonzero().flatten(), (label == 0).nonzero().flatten()
            targets.append(AnchorTargets(positive, negative, by_anchor(wide, 4)[positive]))
            weights.append(float(recorded[f"in.rpn.outside_w{k}"][image].max()))
        flat_logits = torch.stack([by_anchor(logits[image], 1)[:, 0] for image in pictures])
        flat_deltas = torch.stack([by_anchor(deltas[image], 4) for image in pictures])
        loss = objectness_loss(flat_logits, targets, num_samples=16)
        same(NAME, f"rpn_cls, level {k}", loss, recorded["out.rpn_cls_per_level"][level], atol=1e-6)
        total = torch.zeros(())
        for image, (target, weight) in enumerate(zip(targets, weights, strict=True)):
            sampled = len(target.positive) + len(target.negative)
            alone = rpn_box_loss(flat_deltas[image : image + 1], [target])
            total = total + alone * max(sampled, 1) * weight / len(targets)
        same(NAME, f"rpn_bbox, level {k}", total, recorded["out.rpn_bbox_per_level"][level], atol=1e-6)
