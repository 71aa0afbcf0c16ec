"""N2..N6 -> objectness and deltas of every anchor: the region proposal network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from panet.model.layers import gaussian_fill
from panet.structures import Pyramid

__all__ = ["RPNHead", "RPNOutput"]


class RPNOutput(NamedTuple):
    """For every anchor, in the order of `ops.anchors.grid_anchors`.

    Attributes:
        objectness: level k -> (B, H_k * W_k * A) logits.
        deltas: level k -> (B, H_k * W_k * A, 4).
        grid_sizes: level k -> (H_k, W_k).
    """

    objectness: Pyramid
    deltas: Pyramid
    grid_sizes: dict[int, tuple[int, int]]


class RPNHead(nn.Module):
    """One small network for all levels (Faster R-CNN, Sec. 3.1; FPN, Sec. 4.1); no norm.

    Args:
        channels: of every level.
        num_anchors: A, anchors per cell.
        num_convs: 3x3 convs before the outputs.
    """

    def __init__(self, channels: int, num_anchors: int, num_convs: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.more_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_convs - 1))
        self.relu = nn.ReLU()
        self.objectness = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, num_anchors * 4, 1)
        gaussian_fill(self, std=0.01)

    def forward(self, n: Pyramid) -> RPNOutput:
        """Score and shift the anchors of {k: (B, C, H_k, W_k)}."""
        hidden = {k: self._hidden(feature) for k, feature in n.items()}
        return RPNOutput(
            {k: _by_anchor(self.objectness(x), 1).squeeze(-1) for k, x in hidden.items()},
            {k: _by_anchor(self.deltas(x), 4) for k, x in hidden.items()},
            {k: (feature.shape[-2], feature.shape[-1]) for k, feature in n.items()},
        )

    def at(self, n: Pyramid, chosen: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score and shift a few anchors: what `forward` gives for them, at the cost of their cells alone.

        A few hundred anchors of a picture train, of some hundred thousand; a backward pass through the whole maps
        would be one through zeros.

        Args:
            n: {k: (B, C, H_k, W_k)}.
            chosen: B tensors (S_i,) int64, indices into a picture's anchors of all levels.
        Returns:
            B tensors of logits (S_i,), and B of deltas (S_i, 4).
        """
        if self.more_convs:
            output = self(n)
            objectness, deltas = (torch.cat(list(each.values()), dim=1) for each in output[:2])
            pairs = list(enumerate(chosen))
            return [objectness[i, index] for i, index in pairs], [deltas[i, index] for i, index in pairs]
        num_anchors = self.objectness.out_channels
        index, counts = torch.cat(list(chosen)), [len(each) for each in chosen]
        picture = torch.repeat_interleave(torch.tensor(counts, device=index.device))
        cell, anchor = index // num_anchors, index % num_anchors
        kernel = self.conv.weight.permute(0, 2, 3, 1).flatten(1)
        hidden = self.relu(linear(_neighbourhoods(n, picture, cell), kernel, self.conv.bias))
        objectness = _apply_to_cells(self.objectness, hidden).gather(1, anchor[:, None]).squeeze(1)
        deltas = _apply_to_cells(self.deltas, hidden).view(len(index), num_anchors, 4)
        deltas = deltas[torch.arange(len(index), device=index.device), anchor]
        return list(torch.split(objectness, counts)), list(torch.split(deltas, counts))

    def _hidden(self, feature: Tensor) -> Tensor:
        feature = self.relu(self.conv(feature))
        for conv in self.more_convs:
            feature = self.relu(conv(feature))
        return feature


def _by_anchor(x: Tensor, values: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)  # (B, H_k * W_k * A, values)


def _apply_to_cells(conv: nn.Conv2d, cells: Tensor) -> Tensor:
    """Apply a 1x1 conv to (S, C) cells, (S, outputs)."""
    return linear(cells, conv.weight.flatten(1), conv.bias)


def _neighbourhoods(n: Pyramid, picture: Tensor, cell: Tensor) -> Tensor:
    """Give the 3 x 3 cells around some, zeros outside of the map, in the order y, x, channel: (S, 9 * C).

    Args:
        n: {k: (B, C, H_k, W_k)}.
        picture: (S,) index.
        cell: (S,) index into the cells of all levels of a picture.
    """
    first, *_ = n.values()
    zero = first.new_zeros(1, first.shape[1])
    table = torch.cat([zero, *(x.permute(0, 2, 3, 1).flatten(0, 2) for x in n.values())])
    sides = torch.tensor([x.shape[-2:] for x in n.values()], device=cell.device)
    stops = sides.prod(dim=1).cumsum(0)
    starts = stops - sides.prod(dim=1)
    level = torch.bucketize(cell, stops, right=True)
    height, width = sides[level].unbind(1)
    place = cell - starts[level]
    step = torch.arange(-1, 2, device=cell.device)
    y = (place // width)[:, None, None] + step[:, None]
    x = (place % width)[:, None, None] + step
    inside = (y >= 0) & (y < height[:, None, None]) & (x >= 0) & (x < width[:, None, None])
    first_row = 1 + len(first) * starts[level] + picture * height * width
    rows = torch.where(inside, first_row[:, None, None] + y * width[:, None, None] + x, 0)
    return table.index_select(0, rows.flatten()).view(len(cell), 9 * table.shape[1])
