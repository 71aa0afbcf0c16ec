"""Box output -> detections of each picture; from the network's frame to the picture's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from panet.model.box_head import BoxOutput
from panet.ops import boxes as box_ops
from panet.ops.suppression import suppress
from panet.structures import Detections, Size

__all__ = ["BOX_WEIGHTS", "DetectionRule", "select_detections", "to_image", "with_mask_grids"]

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the box head's deltas (Fast R-CNN)


@dataclass(frozen=True)
class DetectionRule:
    """Which boxes become detections, and by which arithmetic.

    Args:
        score_threshold: a score must be above it.
        nms_threshold: IoU above which the lower score goes; within a class.
        max_detections: best detections of a picture that remain.
        min_side: boxes with a smaller side (px) are dropped.
        inclusive: x2, y2 name the last pixel (Detectron, 2018).
        keep_ties: all that score as the last of `max_detections` remain too.
        grown_masks: masks are pasted with a rim, see `ops.paste.paste_mask`.
    """

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    min_side: float = 1e-2
    inclusive: bool = False
    keep_ties: bool = False
    grown_masks: bool = False


def select_detections(
    output: BoxOutput,
    proposals: Sequence[Tensor],
    sizes: Sequence[Size],
    rule: DetectionRule,
    scales: Sequence[tuple[float, float]] | None = None,
) -> list[Detections]:
    """Turn the box head's output into detections, best first (Fast R-CNN, Sec. 2.2; NMS per class).

    Args:
        output: for the R RoIs of the batch.
        proposals: B tensors (R_i, 4), input px, R their sum.
        sizes: B pairs (h, w) to which boxes are clipped: input px, or with `scales` image px.
        rule: what is kept.
        scales: B pairs (y, x), input px per image px, if boxes are to be decoded, clipped and suppressed in image px;
            that matters where a side is x2 - x1 + 1.
    Returns:
        B detections in input px, clipped to the sizes, without masks.
    """
    counts = [len(boxes) for boxes in proposals]
    scores = output.class_logits.float().softmax(dim=1)
    rois = torch.cat(list(proposals) if scales is None else list(map(_shrink, proposals, scales)))
    boxes = box_ops.decode(
        output.deltas.float(), rois[:, None], weights=BOX_WEIGHTS, inclusive=rule.inclusive
    )  # (R, K + 1, 4)
    detections = [
        _select_one(box, score, size, rule)
        for box, score, size in zip(torch.split(boxes, counts), torch.split(scores, counts), sizes, strict=True)
    ]
    if scales is None:
        return detections
    return [
        replace(each, boxes=each.boxes * _factors(each.boxes, scale))
        for each, scale in zip(detections, scales, strict=True)
    ]


def _select_one(boxes: Tensor, scores: Tensor, size: Size, rule: DetectionRule) -> Detections:
    roi, label = (scores[:, 1:] > rule.score_threshold).nonzero(as_tuple=True)
    label = label + 1
    box = box_ops.clip(boxes[roi, label], size, inclusive=rule.inclusive)
    score = scores[roi, label]
    usable = (box[:, 2:] - box[:, :2] + int(rule.inclusive) >= rule.min_side).all(dim=1)
    box, score, label = box[usable], score[usable], label[usable]
    kept = suppress(box, score, label, rule.nms_threshold, inclusive=rule.inclusive)
    count = rule.max_detections
    if rule.keep_ties and len(kept) > count:
        count = int((score[kept] >= score[kept[count - 1]]).sum())
    kept = kept[:count]
    return Detections(box[kept], score[kept], label[kept], inclusive=rule.inclusive, grown=rule.grown_masks)


def _factors(boxes: Tensor, scale: tuple[float, float]) -> Tensor:
    y, x = scale
    return boxes.new_tensor([x, y, x, y])


def _shrink(boxes: Tensor, scale: tuple[float, float]) -> Tensor:
    return boxes / _factors(boxes, scale)


def with_mask_grids(detections: Sequence[Detections], mask_logits: Tensor) -> list[Detections]:
    """Give each detection its mask's probabilities, from (D, M, M) logits of the whole batch, each of its own class."""
    counts = [len(each) for each in detections]
    grids = mask_logits.float().sigmoid()
    return [replace(each, mask_grids=grid) for each, grid in zip(detections, torch.split(grids, counts), strict=True)]


def to_image(detections: Detections, size: Size, original_size: Size, factor: float | None = None) -> Detections:
    """Carry detections from input px of a picture resized to `size` to image px of `original_size`, clipped.

    A `factor` of both sides, where there is one (`ImageBatch.factors`), counts in place of the rounded sizes.
    """
    boxes = detections.boxes
    boxes = box_ops.scale(boxes, size, original_size) if factor is None else boxes / factor
    return replace(detections, boxes=box_ops.clip(boxes, original_size, inclusive=detections.inclusive))
