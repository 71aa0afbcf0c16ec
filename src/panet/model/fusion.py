"""Grids of every RoI for a head's shared layers: adaptive feature pooling (PANet, Sec. 3.2), or FPN's rule."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from panet.model.layers import LinearBlock
from panet.ops.roi_align import pool_all_levels, pool_assigned_level
from panet.structures import Pyramid

__all__ = ["AdaptivePooling", "AssignedPooling", "FuseLevels"]


class FuseLevels(nn.Module):
    """First layer of a head, one copy per level, then an element-wise max (PANet, Sec. 3.2, Fig. 6).

    Args:
        levels: the pyramid's.
        layer: makes one copy; weights are not shared between levels.
        fusion: max, or the sum of Table 4.
    """

    def __init__(
        self, levels: Sequence[int], layer: Callable[[], nn.Module], fusion: Literal["max", "sum"] = "max"
    ) -> None:
        super().__init__()
        self.adapt = nn.ModuleDict({str(k): layer() for k in levels})
        self.fusion = fusion

    def forward(self, grids: Pyramid) -> Tensor:
        """Fuse {k: (R, C, S, S)} into what one layer gives, (R, ...); the order of the levels is of no matter."""
        return self.join([self.adapt[str(k)](grid) for k, grid in grids.items()])

    def join(self, adapted: Sequence[Tensor]) -> Tensor:
        """Fuse what the levels' layers gave."""
        first, *others = adapted
        for other in others:
            first = torch.maximum(first, other) if self.fusion == "max" else first + other
        return first


class AdaptivePooling(nn.Module):
    """Adaptive feature pooling: every RoI from every level, adapted, fused (PANet, Sec. 3.2).

    Args:
        levels: the pyramid's.
        layer: makes the first layer of the head.
        size: side S of the pooled grid.
        samples: RoIAlign points per bin side; 0: by the RoI's size.
        fusion: max or sum over levels.
        aligned: RoIs are shifted by half a feature pixel.
    """

    def __init__(
        self,
        levels: Sequence[int],
        layer: Callable[[], nn.Module],
        *,
        size: int,
        samples: int,
        fusion: Literal["max", "sum"] = "max",
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.fuse = FuseLevels(levels, layer, fusion)
        self.aligned = aligned
        self.size = size
        self.samples = samples

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        """Give the first layer's output, (R, ...), for B lists of (R_i, 4) boxes in input px."""
        is_linear = all(isinstance(layer, LinearBlock) for layer in self.fuse.adapt.values())
        if is_linear and torch.is_grad_enabled():
            # The backward pass goes the other way: the largest map's gradient while there are few others.
            adapted = {k: self._adapt_lean(n, boxes, k) for k in reversed(n)}
            return self.fuse.join([adapted[k] for k in n])
        fused: Tensor = self.fuse(self._pool(n, boxes, is_linear))
        return fused

    def _adapt_lean(self, n: Pyramid, boxes: Sequence[Tensor], k: int) -> Tensor:
        """Pool from a level and apply its linear layer, keeping neither the grids nor their gradients for long.

        Of 1000 RoIs, 7 x 7 and four levels they are 200 MB each in float32; pooling takes a hundredth of a step.
        """
        feature = n[k].detach()
        adapted: Tensor = self.fuse.adapt[str(k)](
            self._pool({k: n[k]}, boxes, True)[k], lambda: self._pool({k: feature}, boxes, True)[k]
        )
        return adapted

    def _pool(self, n: Pyramid, boxes: Sequence[Tensor], channels_first: bool) -> Pyramid:
        return pool_all_levels(n, boxes, self.size, self.samples, aligned=self.aligned, channels_first=channels_first)


class AssignedPooling(nn.Module):
    """Each RoI from the one level that its area assigns, then the first layer (FPN, Eq. 1).

    Args:
        layer: makes the first layer of the head.
        size: side S of the pooled grid.
        samples: RoIAlign points per bin side; 0: by the RoI's size.
        aligned: RoIs are shifted by half a feature pixel.
        inclusive: the area is that of boxes whose x2, y2 name the last pixel.
    """

    def __init__(
        self,
        layer: Callable[[], nn.Module],
        *,
        size: int,
        samples: int,
        aligned: bool = False,
        inclusive: bool = False,
    ) -> None:
        super().__init__()
        self.aligned = aligned
        self.layer = layer()
        self.size = size
        self.samples = samples
        self.inclusive = inclusive

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        """Give the first layer's output, (R, ...), for B lists of (R_i, 4) boxes in input px."""
        grids = pool_assigned_level(n, boxes, self.size, self.samples, inclusive=self.inclusive, aligned=self.aligned)
        first: Tensor = self.layer(grids)
        return first
