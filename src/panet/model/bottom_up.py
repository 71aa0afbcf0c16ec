"""P2..P5 -> N2..N5: bottom-up path augmentation (PANet, Sec. 3.1), and N6 for the RPN."""

from collections.abc import Sequence

from torch import nn
from torch.nn.functional import max_pool2d

from panet.model.layers import ConvBlock, NormFactory, xavier_fill
from panet.structures import Pyramid

__all__ = ["BottomUpPath", "with_coarser_level"]


class BottomUpPath(nn.Module):
    """Bottom-up path augmentation, {P2..P5} -> {N2..N5} (PANet, Sec. 3.1, Fig. 2).

    N2 is P2 itself. Above it, N_k = fuse(P_k + down(N_{k-1})): `down` is a 3x3 stride-2 conv, `fuse` a 3x3
    stride-1 conv, each followed by norm and ReLU. Both convs have a bias, also before a norm (released code).

    Args:
        levels: ascending, the first is kept.
        channels: of every level.
        norm: the norm, or None.
        relu: the released code leaves the ReLU out where it has no norm; the paper does not.
        chain_on_presum: the next `down` sees P_k + down(...), not N_k (mmdetection's PAFPN; not the paper's Fig. 2).
    """

    def __init__(
        self,
        levels: Sequence[int],
        channels: int,
        norm: NormFactory,
        *,
        relu: bool = True,
        chain_on_presum: bool = False,
    ) -> None:
        super().__init__()
        upper = [str(k) for k in levels[1:]]  # the level is in every parameter's name
        self.down = nn.ModuleDict(
            {k: ConvBlock(channels, channels, stride=2, norm=norm, relu=relu, bias=True) for k in upper}
        )
        self.fuse = nn.ModuleDict({k: ConvBlock(channels, channels, norm=norm, relu=relu, bias=True) for k in upper})
        self.chain_on_presum = chain_on_presum
        xavier_fill(self)

    def forward(self, p: Pyramid) -> Pyramid:
        """Keep keys and shapes; any H_k works as long as H_{k+1} = ceil(H_k / 2)."""
        finest, *coarser = sorted(p)
        n = {finest: p[finest]}
        below = p[finest]
        for k in coarser:
            presum = p[k] + self.down[str(k)](below)
            n[k] = self.fuse[str(k)](presum)
            below = presum if self.chain_on_presum else n[k]
        return n


def with_coarser_level(n: Pyramid) -> Pyramid:
    """Add one level above the highest: every second pixel of it. The RPN alone uses it (FPN, Sec. 4.1)."""
    highest = max(n)
    return {**n, highest + 1: max_pool2d(n[highest], kernel_size=1, stride=2)}
