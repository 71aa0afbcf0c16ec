"""Which ground-truth box each anchor or proposal overlaps most."""

from typing import NamedTuple

import torch
from torch import Tensor

from panet.ops.boxes import iou

__all__ = ["BestOverlap", "best_overlap"]

_CHUNK = 64  # ground-truth boxes at once: bounds memory in pictures with hundreds of objects


class BestOverlap(NamedTuple):
    """For each of N boxes.

    Attributes:
        iou: (N,) with the box it overlaps most; 0 without any ground truth.
        matched: (N,) int64, which one that is; 0 without any ground truth.
        is_best: (N,) bool, whether some ground-truth box overlaps none more than this one (ties included).
    """

    iou: Tensor
    matched: Tensor
    is_best: Tensor


def best_overlap(truth: Tensor, boxes: Tensor, *, inclusive: bool = False) -> BestOverlap:
    """Match (N, 4) boxes to (G, 4) ground truth; every ground-truth box with any overlap is someone's best.

    Memory grows with N, not with N * G. With `inclusive`, x2 and y2 name the last pixel.
    """
    overlap = boxes.new_zeros(len(boxes))
    matched = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    is_best = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    if not len(boxes):
        return BestOverlap(overlap, matched, is_best)
    for start in range(0, len(truth), _CHUNK):
        matrix = iou(truth[start : start + _CHUNK], boxes, inclusive=inclusive)  # (chunk, N)
        highest, row = matrix.max(dim=0)
        better = highest > overlap
        overlap = torch.where(better, highest, overlap)
        matched = torch.where(better, row + start, matched)
        top = matrix.amax(dim=1, keepdim=True)
        is_best |= ((matrix == top) & (top > 0)).any(dim=0)
    return BestOverlap(overlap, matched, is_best)
