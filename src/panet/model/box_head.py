"""RoIs -> class logits and deltas."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from panet.model.layers import ConvBlock, LinearBlock, NormFactory, gaussian_fill, msra_fill, xavier_fill
from panet.structures import Pyramid

__all__ = ["BoxHead", "BoxOutput", "PoolingFactory", "four_conv_one_fc", "two_fc"]

PoolingFactory = Callable[[Callable[[], nn.Module]], nn.Module]
"""First layer -> module that pools RoIs from a pyramid and applies it."""


class BoxOutput(NamedTuple):
    """For R RoIs over the batch, class 0 the background.

    Attributes:
        class_logits: (R, K + 1).
        deltas: (R, K + 1, 4), one box a class; those of class 0 are never read.
    """

    class_logits: Tensor
    deltas: Tensor


class BoxHead(nn.Module):
    """Pool, first layer, fuse; then shared layers, then the two outputs (PANet, Sec. 3.2 and 4.2).

    Args:
        pooling: pools, applies the first layer, fuses: (R, ...).
        shared: (R, ...) -> (R, F).
        features: F.
        num_classes: K.
    """

    def __init__(self, pooling: nn.Module, shared: nn.Module, features: int, num_classes: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.shared = shared
        self.class_logits = nn.Linear(features, num_classes + 1)
        self.deltas = nn.Linear(features, (num_classes + 1) * 4)
        gaussian_fill(self.class_logits, std=0.01)
        gaussian_fill(self.deltas, std=0.001)

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> BoxOutput:
        """Judge B lists of (R_i, 4) boxes, input px, by the features of N2..N5."""
        return self.outputs(self.shared(self.pooling(n, boxes)))

    def outputs(self, x: Tensor) -> BoxOutput:
        """Give the two outputs of (R, F) features."""
        return BoxOutput(self.class_logits(x), self.deltas(x).unflatten(1, (-1, 4)))


def four_conv_one_fc(
    pooling: PoolingFactory, channels: int, conv_channels: int, fc_channels: int, size: int, norm: NormFactory
) -> tuple[nn.Module, nn.Module]:
    """Give (pooling with the first conv, three shared convs and one fc): the heavier head (Sec. 4.2, Table 3).

    The paper names four convs alone; the released code adds the fc.
    """
    pool = pooling(lambda: ConvBlock(channels, conv_channels, norm=norm))
    convs = nn.Sequential(*(ConvBlock(conv_channels, conv_channels, norm=norm) for _ in range(3)))
    fc = LinearBlock(conv_channels * size * size, fc_channels)
    msra_fill(pool)
    msra_fill(convs)
    xavier_fill(fc)
    return pool, nn.Sequential(convs, fc)


def two_fc(
    pooling: PoolingFactory, channels: int, fc_channels: int, size: int, norm: NormFactory
) -> tuple[nn.Module, nn.Module]:
    """Give (pooling with fc1, fc2): the head of FPN, its fc1 once per level under adaptive pooling (Fig. 6)."""
    pool = pooling(lambda: LinearBlock(channels * size * size, fc_channels, norm))
    fc2 = LinearBlock(fc_channels, fc_channels, norm)
    xavier_fill(pool)
    xavier_fill(fc2)
    return pool, fc2
