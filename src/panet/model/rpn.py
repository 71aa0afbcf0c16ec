"""N2..N6 -> objectness and deltas of every anchor: the region proposal network."""

from typing import NamedTuple

from torch import Tensor, nn

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

    def _hidden(self, feature: Tensor) -> Tensor:
        feature = self.relu(self.conv(feature))
        for conv in self.more_convs:
            feature = self.relu(conv(feature))
        return feature


def _by_anchor(x: Tensor, values: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)  # (B, H_k * W_k * A, values)
