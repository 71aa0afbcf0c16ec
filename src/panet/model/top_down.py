"""C2..C5 -> P2..P5: the top-down path of FPN."""

from collections.abc import Mapping

from torch import nn
from torch.nn.functional import interpolate

from panet.model.layers import ConvBlock, NormFactory, xavier_fill
from panet.structures import Pyramid

__all__ = ["TopDownPath"]


class TopDownPath(nn.Module):
    """Feature pyramid, {C2..C5} -> {P2..P5} (FPN, Sec. 3).

    I_5 = lateral(C_5), I_k = lateral(C_k) + up(I_{k+1}), P_k = output(I_k): 1x1 and 3x3 convs, with norm and
    without ReLU, so every P_k is signed unless a ReLU is asked for.

    Args:
        inputs: level k -> channels of C_k.
        channels: of every P_k.
        norm: the norm, or None.
        relu: whether ReLUs follow, as mmdetection can be told.
    """

    def __init__(self, inputs: Mapping[int, int], channels: int, norm: NormFactory, *, relu: bool = False) -> None:
        super().__init__()
        self.lateral = nn.ModuleDict(
            {str(k): ConvBlock(width, channels, 1, norm=norm, relu=relu) for k, width in inputs.items()}
        )
        self.output = nn.ModuleDict({str(k): ConvBlock(channels, channels, norm=norm, relu=relu) for k in inputs})
        xavier_fill(self)

    def forward(self, c: Pyramid) -> Pyramid:
        """Keep keys and sizes; every P_k has `channels` channels."""
        highest, *finer = sorted(c, reverse=True)
        inner = {highest: self.lateral[str(highest)](c[highest])}
        for k in finer:
            up = interpolate(inner[k + 1], size=c[k].shape[-2:], mode="nearest")
            inner[k] = self.lateral[str(k)](c[k]) + up
        return {k: self.output[str(k)](inner[k]) for k in sorted(c)}
