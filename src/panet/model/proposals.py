"""RPN output -> proposals of each picture; no parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panet.model.rpn import RPNOutput
from panet.ops import boxes as box_ops
from panet.ops.anchors import grid_anchors
from panet.ops.suppression import suppress
from panet.structures import Pyramid, Size

__all__ = ["ProposalRule", "anchors_of", "propose"]


@dataclass(frozen=True)
class ProposalRule:
    """How many proposals are kept, and by which arithmetic.

    Args:
        num_before_nms: best anchors of each level that are decoded.
        num_after_nms: best proposals of a picture that remain.
        nms_threshold: IoU above which the lower score goes; within a level.
        min_side: boxes with a smaller side (px) are dropped.
        inclusive: x2, y2 name the last pixel, boxes centred off the picture are dropped (Detectron, 2018).
    """

    num_before_nms: int
    num_after_nms: int
    nms_threshold: float = 0.7
    min_side: float = 1e-3
    inclusive: bool = False


def anchors_of(cells: Mapping[int, Tensor], grid_sizes: Mapping[int, Size], padded: Size | None = None) -> Pyramid:
    """Give every level's anchors from its cell's.

    Args:
        cells: level k -> (A, 4) px.
        grid_sizes: level k -> (H_k, W_k).
        padded: (H, W) of the network's input, where strides are to be H // H_k and W // W_k, as torchvision infers
            them: 59 for 64 on level 6 of a picture 416 px wide. By default they are 2**k.
    Returns:
        Level k -> (H_k * W_k * A, 4), input px.
    """
    strides = {
        k: (2**k, 2**k) if padded is None else (padded[0] // height, padded[1] // width)
        for k, (height, width) in grid_sizes.items()
    }
    return {k: grid_anchors(cells[k], height, width, strides[k]) for k, (height, width) in grid_sizes.items()}


@torch.no_grad()
def propose(rpn: RPNOutput, anchors: Pyramid, sizes: Sequence[Size], rule: ProposalRule) -> list[Tensor]:
    """Give the proposals of each picture, best first; they carry no gradient (Faster R-CNN, Sec. 3.1).

    Args:
        rpn: objectness and deltas of every anchor.
        anchors: level k -> (N_k, 4), input px.
        sizes: B pairs (h, w) in input px; proposals are clipped to them, not to the padding.
        rule: what is kept.
    Returns:
        B tensors (R_i, 4) xyxy, input px, with R_i <= rule.num_after_nms.
    """
    return [_propose_one(rpn, anchors, image, size, rule) for image, size in enumerate(sizes)]


def _propose_one(rpn: RPNOutput, anchors: Pyramid, image: int, size: Size, rule: ProposalRule) -> Tensor:
    boxes, scores, levels = [], [], []
    for k, anchor in anchors.items():
        score = rpn.objectness[k][image].float()
        score, best = score.topk(min(rule.num_before_nms, len(score)))
        box = box_ops.decode(rpn.deltas[k][image, best].float(), anchor[best], inclusive=rule.inclusive)
        box = box_ops.clip(box, size, inclusive=rule.inclusive)
        keep = _usable(box, size, rule)
        boxes.append(box[keep])
        scores.append(score[keep].sigmoid())  # the order that NMS sees, ties of saturated scores included
        levels.append(torch.full_like(score[keep], k, dtype=torch.int64))
    box, score = torch.cat(boxes), torch.cat(scores)
    kept = suppress(box, score, torch.cat(levels), rule.nms_threshold, inclusive=rule.inclusive)
    return box[kept[: rule.num_after_nms]]


def _usable(boxes: Tensor, size: Size, rule: ProposalRule) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2] + int(rule.inclusive)
    usable = (sides >= rule.min_side).all(dim=1)
    if rule.inclusive:
        centres = boxes[:, :2] + sides / 2
        usable &= (centres < centres.new_tensor([size[1], size[0]])).all(dim=1)
    return usable
