"""Batch -> named scalar losses. This module is what trains; the model inside it only predicts."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from panet.model.bottom_up import with_coarser_level
from panet.model.detections import BOX_WEIGHTS
from panet.model.panet import PANet
from panet.model.proposals import ProposalRule, propose
from panet.model.rpn import RPNOutput
from panet.objective.box_loss import box_loss, class_loss
from panet.objective.mask_loss import mask_loss
from panet.objective.rpn_loss import AnchorTargets, objectness_loss, rpn_box_loss
from panet.objective.targets import AnchorRule, RoIRule, SampledRoIs, anchor_labels, sample_anchors, sample_rois
from panet.ops.boxes import encode
from panet.ops.fast_convs import FastConvs
from panet.ops.paste import crop_masks
from panet.ops.sampling import choose
from panet.structures import Batch, Pyramid, Size, Target

__all__ = ["Objective"]


class Objective(nn.Module):
    """The five losses of Mask R-CNN, weighted equally (PANet, Sec. 4.1; the released code).

    Args:
        model: the network that is judged.
        proposal_rule: what the RPN's output becomes when training.
        anchor_rule: which anchors train the RPN.
        roi_rule: which proposals train the heads.
        mask_samples: positives whose mask trains, of a picture; None: all.
        rpn_beta: of the RPN's box loss.
        box_beta: of the box head's.
        whole_rpn: differentiate the RPN's outputs of all anchors, not just of those that train: the same, but slow.
        fast_convs: let 3x3 convs take the compiled kernel where that is faster (`panet.ops.fast_convs`).
    """

    def __init__(
        self,
        model: PANet,
        *,
        proposal_rule: ProposalRule,
        anchor_rule: AnchorRule,
        roi_rule: RoIRule,
        mask_samples: int | None = None,
        rpn_beta: float = 1 / 9,
        box_beta: float = 1 / 3,
        whole_rpn: bool = False,
        fast_convs: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.proposal_rule = proposal_rule
        self.anchor_rule = anchor_rule
        self.roi_rule = roi_rule
        self.mask_samples = mask_samples
        self.rpn_beta = rpn_beta
        self.box_beta = box_beta
        self.whole_rpn = whole_rpn
        self.fast_convs = fast_convs

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Judge a batch; in eval mode the same call gives a validation loss.

        Args:
            batch: pictures and their objects.
            generator: where the draws of anchors and RoIs come from.
        Returns:
            Scalars "objectness", "rpn_box", "class", "box" and, with a mask branch, "mask".
        """
        with FastConvs() if self.fast_convs else nullcontext():
            return self._judge(batch, generator)

    def _judge(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        images, targets = batch.images, batch.targets
        if self.roi_rule.inclusive:
            targets = tuple(map(_with_last_pixel, targets, images.scales))
        n = self.model.features(images.tensor)
        levels = with_coarser_level(n)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.whole_rpn):
            rpn: RPNOutput = self.model.rpn(levels)
        anchors = self.model.anchors(rpn, images)
        chosen = self._choose_anchors(anchors, targets, images.sizes, generator)
        losses = self._rpn_losses(levels, rpn, chosen)

        proposals = propose(rpn, anchors, images.sizes, self.proposal_rule)
        rois = sample_rois(proposals, targets, images.sizes, self.roi_rule, generator)
        losses |= self._box_losses(n, rois, targets)
        if self.model.mask_head is not None:
            losses["mask"] = self._mask_loss(n, rois, targets, generator)
        return losses

    def _choose_anchors(
        self, anchors: Pyramid, targets: Sequence[Target], sizes: Sequence[Size], generator: torch.Generator
    ) -> list[AnchorTargets]:
        every = torch.cat(list(anchors.values()))
        pairs = zip(targets, sizes, strict=True)
        return [self._anchor_targets(every, target, size, generator) for target, size in pairs]

    def _rpn_losses(self, levels: Pyramid, rpn: RPNOutput, chosen: Sequence[AnchorTargets]) -> dict[str, Tensor]:
        objectness: Sequence[Tensor] | Tensor
        deltas: Sequence[Tensor] | Tensor
        if self.whole_rpn:
            objectness, deltas = (torch.cat(list(each.values()), dim=1) for each in rpn[:2])
        else:
            objectness, deltas = self.model.rpn.at(levels, [torch.cat(each[:2]) for each in chosen])
            chosen = [each.renumbered() for each in chosen]
        return {
            "objectness": objectness_loss(objectness, chosen, self.anchor_rule.num_samples),
            "rpn_box": rpn_box_loss(deltas, chosen, self.rpn_beta),
        }

    def _anchor_targets(self, anchors: Tensor, target: Target, size: Size, generator: torch.Generator) -> AnchorTargets:
        labels, index = anchor_labels(anchors, target, size, self.anchor_rule)
        positive, negative = sample_anchors(labels, self.anchor_rule, generator)
        deltas = encode(target.boxes[index[positive]], anchors[positive], inclusive=self.anchor_rule.inclusive)
        return AnchorTargets(positive, negative, deltas)

    def _box_losses(self, n: Pyramid, rois: Sequence[SampledRoIs], targets: Sequence[Target]) -> dict[str, Tensor]:
        output = self.model.box_head(n, [each.boxes for each in rois])
        labels = torch.cat([each.labels for each in rois])
        inclusive = self.roi_rule.inclusive
        deltas = torch.cat([_box_targets(each, target, inclusive) for each, target in zip(rois, targets, strict=True)])
        return {
            "class": class_loss(output.class_logits, labels),
            "box": box_loss(output.deltas, labels, deltas, self.box_beta),
        }

    def _mask_loss(
        self, n: Pyramid, rois: Sequence[SampledRoIs], targets: Sequence[Target], generator: torch.Generator
    ) -> Tensor:
        assert self.model.mask_head is not None
        boxes, labels, indices = zip(*(self._mask_rois(each, generator) for each in rois), strict=True)
        if not any(map(len, boxes)):
            # One RoI of no weight keeps the branch in the graph: every parameter has a gradient on every rank.
            unused: Tensor = self.model.mask_head(n, [rois[0].boxes[:1], *boxes[1:]])
            return 0 * unused.float().sum()
        logits = self.model.mask_head(n, boxes)
        size = logits.shape[-1]
        truth = [
            crop_masks(target.masks, box, index, size)
            for target, box, index in zip(targets, boxes, indices, strict=True)
        ]
        return mask_loss(logits, torch.cat(labels), torch.cat(truth))

    def _mask_rois(self, rois: SampledRoIs, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        positive = (rois.labels > 0).nonzero().flatten()
        if self.mask_samples is not None:
            positive = choose(positive, self.mask_samples, generator)
        return rois.boxes[positive], rois.labels[positive], rois.index[positive]


def _box_targets(rois: SampledRoIs, target: Target, inclusive: bool) -> Tensor:
    positive = (rois.labels > 0).nonzero().flatten()
    truth = target.boxes[rois.index[positive]]
    return encode(truth, rois.boxes[positive], weights=BOX_WEIGHTS, inclusive=inclusive)


def _with_last_pixel(target: Target, scale: tuple[float, float]) -> Target:
    """Let x2, y2 of the objects name the last pixel: one of the picture's, however far that is in input px."""
    y, x = scale
    return replace(target, boxes=target.boxes - target.boxes.new_tensor([0.0, 0.0, x, y]))
