"""Between masks of a picture and the small grid that spans a box: cut out for training, paste for the result."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from panet.ops import native
from panet.ops.rle import MAX_TILED_PIXELS, Rle, encode_window

__all__ = ["crop_masks", "masks_to_rle", "paste_mask", "paste_probabilities"]


def crop_masks(masks: Tensor, boxes: Tensor, index: Tensor, size: int, samples: int = 4) -> Tensor:
    """Cut the mask targets out (Mask R-CNN, Sec. 3.1): a cell is 1 where at least half of it is covered.

    Args:
        masks: (G, h, w) bool, input px.
        boxes: (S, 4) xyxy, input px.
        index: (S,) int64, which mask each box wants.
        size: side M of the grid.
        samples: points per cell side at which the cover is measured.
    Returns:
        (S, M, M) float32 of 0 and 1.
    """
    if not len(boxes):
        return boxes.new_zeros(0, size, size, dtype=torch.float32)
    height, width = masks.shape[-2:]
    steps = (torch.arange(size * samples, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * samples)
    x = (boxes[:, 0, None] + steps * (boxes[:, 2] - boxes[:, 0])[:, None]).floor().long()  # (S, M * samples)
    y = (boxes[:, 1, None] + steps * (boxes[:, 3] - boxes[:, 1])[:, None]).floor().long()
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    covered = masks[index[:, None, None], y[:, :, None], x[:, None, :]] & inside
    cells = covered.reshape(len(boxes), size, samples, size, samples).float().mean(dim=(2, 4))
    return (cells >= 0.5).float()


def paste_mask(
    grid: Tensor, box: Tensor, size: tuple[int, int], threshold: float = 0.5, *, grown: bool = False
) -> tuple[Tensor, int, int]:
    """Give the mask inside the part of the picture that its box covers.

    The grid spans the box; it is read bilinearly at pixel centres, beyond its outer cell centres as the outer cell.
    With `grown`, a rim of zero cells is put around the grid first, and the box grown by it and cut to whole pixels,
    the last one included (Detectron, 2018; torchvision).

    Args:
        grid: (M, M) probabilities on the CPU.
        box: (4,) xyxy, image px.
        size: the picture's (height, width).
        threshold: a pixel belongs to the mask at or above it.
        grown: as above; a pixel must then be above the threshold.
    Returns:
        A bool window (h, w), and the column and row of its top left pixel; 0 along a side that holds no pixel centre.
    """
    if grown:
        grid, box, threshold = _with_rim(grid, box, threshold)
    window, left, top = _window(grid, box, size)
    return window >= threshold, left, top


def paste_probabilities(grids: Tensor, boxes: Tensor, size: tuple[int, int], *, grown: bool = False) -> Tensor:
    """Give whole pictures of probabilities, 0 off the boxes: what `paste_mask` compares with its threshold.

    Args:
        grids: (D, M, M) probabilities.
        boxes: (D, 4) xyxy, image px.
        size: the picture's (height, width).
        grown: as for `paste_mask`.
    Returns:
        (D, height, width), of the grids' dtype.
    """
    pictures = grids.new_zeros(len(grids), *size)
    if grown:
        grids, boxes, _ = _with_rim(grids, boxes, 0.5)
    for picture, grid, box in zip(pictures, grids, boxes, strict=True):
        window, left, top = _window(grid, box, size)
        picture[top : top + window.shape[0], left : left + window.shape[1]] = window
    return pictures


def _window(grid: Tensor, box: Tensor, size: tuple[int, int]) -> tuple[Tensor, int, int]:
    """Read a grid at the pixel centres that its box covers, in float64; give the column and row of the first, too."""
    x1, y1, x2, y2 = box.tolist()
    across, left = _read_positions(x1, x2, size[1], grid.shape[1])
    down, top = _read_positions(y1, y2, size[0], grid.shape[0])
    # A pixel is the sum of two products that are exact in float64: no order of sums, no fused multiplication changes a
    # bit, and the compiled kernel draws the very same mask.
    rows = (down.to(grid.device) @ grid.float().double()).float()
    return rows.double() @ across.to(grid.device).T, left, top


def masks_to_rle(
    grids: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5, *, grown: bool = False
) -> list[Rle]:
    """Give the masks of a picture's D detections in COCO's form; neither D x H x W nor H x W pixels are made.

    Law: each is `encode_window` of what `paste_mask` gives, bit for bit.

    Args:
        grids: (D, M, M) probabilities on the CPU.
        boxes: (D, 4) xyxy, image px.
        size, threshold, grown: as in `paste_mask`.
    """
    if native.LIBRARY is None:
        windows = (paste_mask(grid, box, size, threshold, grown=grown) for grid, box in zip(grids, boxes, strict=True))
        return [encode_window(window.numpy(), left, top, size) for window, left, top in windows]
    assert size[0] * size[1] <= MAX_TILED_PIXELS, size
    if grown:
        grids, boxes, threshold = _with_rim(grids, boxes, threshold)
    counts = native.write_counts(grids.float(), boxes, size, threshold)
    return [{"size": [int(size[0]), int(size[1])], "counts": each} for each in counts]


def _with_rim(grids: Tensor, boxes: Tensor, threshold: float) -> tuple[Tensor, Tensor, float]:
    """Put a rim of zero cells around (..., M, M) grids, grow (..., 4) boxes by it; say "above" by "at or above"."""
    boxes = _grown(boxes, grids.shape[-1])
    return pad(grids, (1, 1, 1, 1)), boxes, math.nextafter(threshold, math.inf)


def _grown(boxes: Tensor, num_cells: int) -> Tensor:
    """Grow (..., 4) boxes by a cell at each side, cut edges to whole px; the last pixel becomes an exclusive edge."""
    start, stop = boxes[..., :2], boxes[..., 2:]
    centre, half = (stop + start) * 0.5, (stop - start) * 0.5 * ((num_cells + 2.0) / num_cells)
    first, last = (centre - half).trunc(), (centre + half).trunc()
    return torch.cat((first, torch.maximum(last, first) + 1), dim=-1)


def _read_positions(start: float, stop: float, limit: int, num_cells: int) -> tuple[Tensor, int]:
    """Give (n, num_cells) bilinear weights for the n pixel centres in [start, stop), and the first pixel.

    The weights are float64 multiples of 2**-24, and those of a pixel have the sum 1.
    """
    first = max(0, math.ceil(start - 0.5))
    last = min(limit, math.ceil(stop - 0.5))
    if last <= first:
        return torch.zeros(0, num_cells, dtype=torch.float64), 0
    centres = torch.arange(first, last, dtype=torch.float64) + 0.5
    position = ((centres - start) * num_cells / (stop - start) - 0.5).clamp(0, num_cells - 1)
    position = (position * 2**24).round() / 2**24
    cells = torch.arange(num_cells, dtype=torch.float64)
    return (1 - (position[:, None] - cells).abs()).clamp(min=0), first
