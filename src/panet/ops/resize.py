"""Bilinear resizing without antialias: what the networks of 2018 were trained on."""

import torch
from torch import Tensor

__all__ = ["resize_bilinear"]


def resize_bilinear(image: Tensor, size: tuple[int, int], factor: float) -> Tensor:
    """Enlarge a picture by one factor, reading it between pixel centres, at the edge as the outer pixel.

    As OpenCV's INTER_LINEAR: of two pixels a side are read, however much the picture shrinks; pixel centres keep
    their place under the factor, not under the rounded size.

    Args:
        image: (C, H, W) float.
        size: (height, width) of the result, H * factor and W * factor in whole pixels.
        factor: of both sides.
    Returns:
        (C, height, width).
    """
    across, right, x_share = _taps(image.shape[2], size[1], factor)
    rows = torch.lerp(image[:, :, across], image[:, :, right], x_share)
    down, below, y_share = _taps(image.shape[1], size[0], factor)
    return torch.lerp(rows[:, down], rows[:, below], y_share[:, None])


def _taps(source: int, target: int, factor: float) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `target` pixels: the two of `source` pixels that are read, and the second one's share."""
    position = (torch.arange(target, dtype=torch.float64) + 0.5) / factor - 0.5
    position = position.clamp(0, source - 1)
    first = position.floor().long()
    return first, (first + 1).clamp(max=source - 1), (position - first).to(torch.float32)
