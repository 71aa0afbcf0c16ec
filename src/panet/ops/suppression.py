"""Non-maximum suppression, hard and soft, and box voting, within groups (classes or levels)."""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from panet.ops import boxes as box_ops

__all__ = ["Decay", "soft_suppress", "suppress", "vote"]

Decay: TypeAlias = Literal["linear", "gaussian"]
"""How soft-NMS lowers a score by an IoU: times 1 - IoU where it is above a threshold; times exp(-IoU**2 / sigma)."""


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


def soft_suppress(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    decay: Decay,
    *,
    threshold: float = 0.5,
    sigma: float = 0.5,
    min_score: float = 1e-4,
    limit: int | None = None,
    inclusive: bool = False,
) -> tuple[Tensor, Tensor]:
    """Lower the scores of boxes that overlap a better one of their group, instead of dropping them.

    Soft-NMS (Bodla et al. 2017): the best box is taken, the scores of the others decay by their IoU with it, and so
    on. A score never rises, so that boxes come best first, and the first `limit` are the same without a limit. A step
    costs O(N) for all groups together.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) in 0..1.
        groups: (N,) int64; boxes of different groups never meet.
        decay: the rule.
        threshold: of "linear".
        sigma: of "gaussian".
        min_score: boxes whose score falls below it are dropped (Detectron's 0.0001).
        limit: how many boxes are taken at most; by default all.
        inclusive: x2, y2 name the last pixel.
    Returns:
        (M,) indices and their (M,) scores, best first.
    """
    # On the CPU: each step needs the result of the one before, for which a GPU would have to be waited for.
    places, left, labels = (tensor.cpu() for tensor in (boxes, scores, groups))
    left = left.clone()
    kept: list[int] = []
    kept_scores: list[float] = []
    while len(kept) < (len(places) if limit is None else min(limit, len(places))):
        best = int(left.argmax())
        if left[best] < min_score or left[best] <= 0:
            break
        kept.append(best)
        kept_scores.append(float(left[best]))
        overlap = box_ops.iou(places[best : best + 1], places, inclusive=inclusive)[0]
        factor = _decay(overlap, decay, threshold, sigma)
        left = torch.where(labels == labels[best], left * factor, left)
        left[best] = -1  # taken
    return boxes.new_tensor(kept, dtype=torch.int64), scores.new_tensor(kept_scores)


def _decay(overlap: Tensor, decay: Decay, threshold: float, sigma: float) -> Tensor:
    if decay == "linear":
        return torch.where(overlap > threshold, 1 - overlap, 1.0).clamp(min=0)
    return (-(overlap**2) / sigma).exp()


def vote(
    kept: Tensor,
    kept_groups: Tensor,
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    threshold: float,
    *,
    inclusive: bool = False,
) -> Tensor:
    """Move each kept box to the mean of the boxes around it, weighted by score.

    Box voting (Gidaris and Komodakis 2015). The mean lies within its voters: in the picture, if they do.

    Args:
        kept: (M, 4) xyxy, what suppression left.
        kept_groups: (M,) int64.
        boxes: (N, 4) what it began with.
        scores: (N,) above 0: the weights.
        groups: (N,) int64; a box votes within its group.
        threshold: an IoU with the kept box of at least this gives a vote.
        inclusive: x2, y2 name the last pixel.
    Returns:
        (M, 4); a box without votes stays where it is.
    """
    near = box_ops.iou(kept, boxes, inclusive=inclusive) >= threshold
    weights = (near & (kept_groups[:, None] == groups)) * scores.double()  # (M, N); a lone box's mean is then itself
    total = weights.sum(dim=1, keepdim=True)
    mean = weights @ boxes.double() / total.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(total > 0, mean.to(kept.dtype), kept)
