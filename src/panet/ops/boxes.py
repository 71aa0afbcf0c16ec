"""Boxes as (x1, y1, x2, y2) floats: area, overlap, and the deltas that turn one box into another.

`inclusive=True` is the convention of 2018: x2 and y2 name the last pixel, so a side is x2 - x1 + 1. Everywhere else
x2 and y2 are exclusive.
"""

import math

import torch
from torch import Tensor

__all__ = ["area", "clip", "decode", "encode", "intersection", "iou", "mirror", "scale", "share_inside"]

_MAX_LOG_SCALE = math.log(1000.0 / 16)  # a delta grows a side 62.5-fold at most (Detectron)


def area(boxes: Tensor, *, inclusive: bool = False) -> Tensor:
    """Give (N,) areas of (N, 4) boxes."""
    sides = boxes[:, 2:] - boxes[:, :2] + int(inclusive)
    return sides[:, 0] * sides[:, 1]


def clip(boxes: Tensor, size: tuple[int, int], *, inclusive: bool = False) -> Tensor:
    """Move (..., 4) boxes into a picture of `size` (height, width). clip(clip(b)) == clip(b)."""
    height, width = (side - int(inclusive) for side in size)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1)


def scale(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Carry (N, 4) boxes from a picture of one (height, width) to the same picture at another."""
    y, x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return boxes * boxes.new_tensor([x, y, x, y])


def mirror(boxes: Tensor, width: float, *, inclusive: bool = False) -> Tensor:
    """Carry (N, 4) boxes into the mirrored picture, left for right. mirror(mirror(b)) == b, up to rounding."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    edge = width - int(inclusive)
    return torch.stack((edge - x2, y1, edge - x1, y2), dim=-1)


def intersection(a: Tensor, b: Tensor, *, inclusive: bool = False) -> Tensor:
    """Give the (A, B) areas that (A, 4) and (B, 4) boxes share."""
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (bottom_right - top_left + int(inclusive)).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(a: Tensor, b: Tensor, *, inclusive: bool = False) -> Tensor:
    """Give the (A, B) intersection over union; 0 where both boxes are empty. iou(a, b) == iou(b, a).T."""
    shared = intersection(a, b, inclusive=inclusive)
    union = area(a, inclusive=inclusive)[:, None] + area(b, inclusive=inclusive)[None, :] - shared
    return torch.where(shared > 0, shared / union, torch.zeros_like(shared))


def share_inside(a: Tensor, b: Tensor) -> Tensor:
    """Give the (A, B) share of each box of `a` that lies in each box of `b`; 0 for an empty box."""
    shared = intersection(a, b)
    return torch.where(shared > 0, shared / area(a)[:, None], torch.zeros_like(shared))


def encode(
    targets: Tensor,
    anchors: Tensor,
    *,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    inclusive: bool = False,
) -> Tensor:
    """Give the deltas that turn anchors into targets (Faster R-CNN, Sec. 3.1.2).

    Args:
        targets: (N, 4) boxes with area.
        anchors: (N, 4) boxes with area, same frame.
        weights: factors on dx, dy, dw, dh.
        inclusive: x2, y2 name the last pixel.
    Returns:
        (N, 4) dx dy in units of the anchor's sides, dw dh as logarithms, times `weights`.
    """
    sides, target_sides = (boxes[:, 2:] - boxes[:, :2] + int(inclusive) for boxes in (anchors, targets))
    centres, target_centres = anchors[:, :2] + 0.5 * sides, targets[:, :2] + 0.5 * target_sides
    deltas = torch.cat(((target_centres - centres) / sides, (target_sides / sides).log()), dim=1)
    return deltas * deltas.new_tensor(weights)


def decode(
    deltas: Tensor,
    anchors: Tensor,
    *,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    inclusive: bool = False,
) -> Tensor:
    """Turn deltas into boxes. decode(encode(b, a), a) == b for boxes with area, up to 62.5-fold growth.

    Args:
        deltas: (..., 4) as `encode` gives them.
        anchors: boxes that broadcast against `deltas`.
        weights: factors on dx, dy, dw, dh.
        inclusive: x2, y2 name the last pixel.
    Returns:
        (..., 4) boxes in the anchors' frame, not clipped.
    """
    deltas = deltas / deltas.new_tensor(weights)
    sides = anchors[..., 2:] - anchors[..., :2] + int(inclusive)
    centres = anchors[..., :2] + 0.5 * sides
    new_centres = deltas[..., :2] * sides + centres
    new_sides = deltas[..., 2:].clamp(max=_MAX_LOG_SCALE).exp() * sides
    return torch.cat((new_centres - 0.5 * new_sides, new_centres + 0.5 * new_sides - int(inclusive)), dim=-1)
