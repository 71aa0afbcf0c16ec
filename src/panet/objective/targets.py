"""Ground truth -> what each anchor and each RoI should have said."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panet.ops.boxes import share_inside
from panet.ops.matching import best_overlap
from panet.ops.sampling import Sampled, sample
from panet.structures import Size, Target

__all__ = ["AnchorRule", "RoIRule", "SampledRoIs", "anchor_labels", "sample_anchors", "sample_rois"]

_CROWD_SHARE = 0.7  # with more of it inside a crowd, a box is neither positive nor negative (Detectron)


@dataclass(frozen=True)
class AnchorRule:
    """Which anchors train the RPN (Faster R-CNN, Sec. 3.1.2).

    Args:
        num_samples: of a picture.
        positive_fraction: share of them that positives may fill.
        foreground_iou: at or above it an anchor is positive; so is the best anchor of each object.
        background_iou: below it an anchor is negative.
        straddle: px by which an anchor may reach over the picture's edge and still train; None: any.
        inclusive: x2, y2 name the last pixel, of anchors and objects, and only anchors that may train compete for
            being an object's best (Detectron, 2018).
    """

    num_samples: int = 256
    positive_fraction: float = 0.5
    foreground_iou: float = 0.7
    background_iou: float = 0.3
    straddle: float | None = 0.0
    inclusive: bool = False


@dataclass(frozen=True)
class RoIRule:
    """Which proposals train the heads (Fast R-CNN, Sec. 2.3): the same fields as for anchors."""

    num_samples: int = 512
    positive_fraction: float = 0.25
    foreground_iou: float = 0.5
    inclusive: bool = False


@dataclass(frozen=True)
class SampledRoIs:
    """The RoIs of one picture that train the heads, positives first.

    Args:
        boxes: (S, 4), input px.
        labels: (S,) 0..K, 0 the background.
        index: (S,) the matched object; 0 for background, which has none.
    """

    boxes: Tensor
    labels: Tensor
    index: Tensor

    @property
    def num_positive(self) -> int:
        return int((self.labels > 0).sum())


def anchor_labels(anchors: Tensor, target: Target, size: Size, rule: AnchorRule) -> tuple[Tensor, Tensor]:
    """Judge all anchors of a picture.

    Args:
        anchors: (N, 4), input px.
        target: its objects.
        size: its (h, w) without padding.
        rule: the thresholds.
    Returns:
        (N,) labels: 1 positive, 0 negative, -1 ignored; and (N,) the index of the matched object.
    """
    truth, crowd = target.boxes[~target.crowd], target.boxes[target.crowd]
    inside = _inside(anchors, size, rule)
    judged = (inside if rule.inclusive else torch.ones_like(inside)).nonzero().flatten()
    best = best_overlap(truth, anchors[judged], inclusive=rule.inclusive)
    verdicts = torch.full((len(judged),), -1, dtype=torch.int64, device=anchors.device)
    verdicts[best.iou < rule.background_iou] = 0
    verdicts[_in_crowd(anchors[judged], crowd)] = -1
    verdicts[best.is_best | (best.iou >= rule.foreground_iou)] = 1
    labels = torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    labels[judged] = verdicts
    labels[~inside] = -1
    # Positions among all objects, crowds included.
    positions = (~target.crowd).nonzero().flatten()
    index = torch.zeros_like(labels)
    index[judged] = positions[best.matched] if len(positions) else best.matched
    return labels, index


def _inside(anchors: Tensor, size: Size, rule: AnchorRule) -> Tensor:
    if rule.straddle is None:
        return torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    edge = anchors.new_tensor([size[1], size[0]]) - int(rule.inclusive)
    return (anchors[:, :2] >= -rule.straddle).all(dim=1) & (anchors[:, 2:] <= edge + rule.straddle).all(dim=1)


def sample_anchors(labels: Tensor, rule: AnchorRule, generator: torch.Generator) -> Sampled:
    """Draw the anchors of a picture that train."""
    return sample(labels, rule.num_samples, rule.positive_fraction, generator)


def sample_rois(
    proposals: Sequence[Tensor],
    targets: Sequence[Target],
    sizes: Sequence[Size],
    rule: RoIRule,
    generator: torch.Generator,
) -> list[SampledRoIs]:
    """Draw the RoIs that train the heads; the objects' own boxes are candidates too.

    Every picture gets at least one RoI, so that a loss always has a gradient for every parameter.

    Args:
        proposals: B tensors (R_i, 4), input px.
        targets: B pictures' objects; crowds are no candidates, and what lies in one is no negative.
        sizes: B pairs (h, w), input px.
        rule: the thresholds.
        generator: where the draws come from.
    """
    return [
        _sample_one(boxes, target, size, rule, generator)
        for boxes, target, size in zip(proposals, targets, sizes, strict=True)
    ]


def _sample_one(
    proposals: Tensor, target: Target, size: Size, rule: RoIRule, generator: torch.Generator
) -> SampledRoIs:
    positions = (~target.crowd).nonzero().flatten()
    truth = target.boxes[positions]
    boxes = torch.cat((truth, proposals))
    best = best_overlap(truth, boxes, inclusive=rule.inclusive)
    labels = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    labels[_in_crowd(boxes, target.boxes[target.crowd])] = -1
    index = positions[best.matched] if len(positions) else best.matched
    positive = best.iou >= rule.foreground_iou
    labels[positive] = target.labels[index[positive]]
    chosen = torch.cat(sample(labels, rule.num_samples, rule.positive_fraction, generator))
    if not len(chosen):
        whole = boxes.new_tensor([[0.0, 0.0, size[1], size[0]]])
        return SampledRoIs(whole, labels.new_zeros(1), index.new_zeros(1))
    return SampledRoIs(boxes[chosen], labels[chosen], torch.where(labels > 0, index, 0)[chosen])


def _in_crowd(boxes: Tensor, crowd: Tensor) -> Tensor:
    return (share_inside(boxes, crowd) > _CROWD_SHARE).any(dim=1)
