"""Pooling of RoIs from a pyramid: from every level (PANet, Sec. 3.2), or from the one that FPN's rule assigns."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

__all__ = ["assigned_levels", "pool_all_levels", "pool_assigned_level"]

Pyramid = dict[int, Tensor]


def pool_all_levels(n: Pyramid, boxes: Sequence[Tensor], size: int, samples: int) -> Pyramid:
    """Pool each RoI from every level (PANet, Sec. 3.2); no level is picked by box size.

    Args:
        n: level k -> (B, C, H_k, W_k), stride 2**k.
        boxes: B tensors (R_i, 4), xyxy in pixels of the padded network input.
        size: side S of the pooled grid.
        samples: RoIAlign sampling points per bin side.
    Returns:
        Level k -> (R, C, S, S) with R = sum of R_i; every level lists the RoIs in one order.
    """
    rois = _with_image_index(boxes)
    return {k: _pool(feature, rois, k, size, samples) for k, feature in n.items()}


def pool_assigned_level(n: Pyramid, boxes: Sequence[Tensor], size: int, samples: int) -> Tensor:
    """Pool each RoI from the level that its area assigns (FPN, Eq. 1).

    Args and frame are those of `pool_all_levels`.

    Returns:
        (R, C, S, S), in the order of the boxes.
    """
    rois = _with_image_index(boxes)
    level = assigned_levels(rois[:, 1:], min(n), max(n))
    some_level = next(iter(n.values()))
    grids = some_level.new_zeros(len(rois), some_level.shape[1], size, size)
    for k, feature in n.items():
        here = (level == k).nonzero().flatten()
        # index_copy rather than a masked write: differentiable, and the order of the RoIs stays.
        grids = grids.index_copy(0, here, _pool(feature, rois[here], k, size, samples).to(grids.dtype))
    return grids


def assigned_levels(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """Give the level k = floor(4 + log2(sqrt(area) / 224)) of (R, 4) boxes, held within two levels (FPN, Eq. 1)."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    level = torch.floor(4 + torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / 224) + 1e-6)
    return level.clamp(lowest, highest).to(torch.int64)


def _pool(feature: Tensor, rois: Tensor, k: int, size: int, samples: int) -> Tensor:
    # aligned=False: no shift by half a pixel, sides of at least one feature pixel, as in 2018.
    pooled: Tensor = roi_align(feature, rois.to(feature.dtype), size, 2.0**-k, samples, aligned=False)
    return pooled


def _with_image_index(boxes: Sequence[Tensor]) -> Tensor:
    """Join B lists of boxes into (R, 5) rows [image, x1, y1, x2, y2]."""
    counts = torch.tensor([len(each) for each in boxes], device=boxes[0].device)
    index = torch.repeat_interleave(torch.arange(len(boxes), device=boxes[0].device), counts)
    return torch.cat((index[:, None].to(boxes[0].dtype), torch.cat(list(boxes))), dim=1)
