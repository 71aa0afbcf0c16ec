"""Anchors: the prior boxes of the RPN (Faster R-CNN, Sec. 3.1.1; one size a level, FPN, Sec. 4.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["cell_anchors", "grid_anchors", "legacy_cell_anchors"]


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], *, rounded: bool = True) -> Tensor:
    """Give the anchors of the cell at the origin: centred at 0, edges rounded to pixels, as torchvision has them.

    Args:
        sizes: square roots of the areas, px.
        ratios: height / width.
        rounded: whether edges are whole pixels.
    Returns:
        (A, 4) xyxy px, all sizes of the first ratio first.
    """
    size, ratio = torch.tensor(list(sizes)), torch.tensor(list(ratios))
    heights = (ratio.sqrt()[:, None] * size[None, :]).flatten()
    widths = (1 / ratio.sqrt()[:, None] * size[None, :]).flatten()
    anchors = torch.stack((-widths, -heights, widths, heights), dim=1) / 2
    return anchors.round() if rounded else anchors


def legacy_cell_anchors(stride: int, sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Give the anchors of 2018 (Detectron): rounded at the scale of one stride, then enlarged; inclusive px.

    Args:
        stride: of the level, px.
        sizes: square roots of the areas, px.
        ratios: height / width.
    Returns:
        (A, 4) xyxy px, x2 and y2 the last pixel, centred at (stride - 1) / 2.
    """
    centre = (stride - 1) / 2
    rows = []
    for ratio in ratios:
        width = round((stride * stride / ratio) ** 0.5)  # half to even, as numpy
        height = round(width * ratio)
        for size in sizes:
            w, h = width * size / stride, height * size / stride
            rows.append([centre - (w - 1) / 2, centre - (h - 1) / 2, centre + (w - 1) / 2, centre + (h - 1) / 2])
    return torch.tensor(rows, dtype=torch.float32)


def grid_anchors(cell: Tensor, height: int, width: int, stride: tuple[int, int]) -> Tensor:
    """Repeat the cell's anchors over a map.

    Args:
        cell: (A, 4) xyxy px.
        height: rows of the map.
        width: columns of the map.
        stride: px between rows and between columns.
    Returns:
        (height * width * A, 4) xyxy input px, in the order y, x, anchor.
    """
    y = torch.arange(height, device=cell.device, dtype=cell.dtype) * stride[0]
    x = torch.arange(width, device=cell.device, dtype=cell.dtype) * stride[1]
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (shifts + cell).reshape(-1, 4)
