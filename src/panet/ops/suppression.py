"""Non-maximum suppression, within groups (classes or levels)."""

import math

from torch import Tensor
from torchvision.ops import batched_nms

__all__ = ["suppress"]


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, *, inclusive: bool = False) -> Tensor:
    """Keep the best of boxes that overlap by more than `threshold`, among those of one group.

    Args:
        boxes: (N, 4) xyxy, clipped to a picture: none is negative, which would let groups meet.
        scores: (N,) finite.
        groups: (N,) int64; boxes of different groups never meet.
        threshold: an IoU above it suppresses.
        inclusive: x2, y2 name the last pixel, and an IoU equal to the threshold suppresses too (Detectron, 2018).
    Returns:
        (M,) indices, best score first.
    """
    if inclusive:
        boxes = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])  # the same IoU in the exclusive convention
        threshold = math.nextafter(threshold, 0.0)
    kept: Tensor = batched_nms(boxes, scores, groups, threshold)
    return kept
