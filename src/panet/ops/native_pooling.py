"""The compiled pooling as operators of torch: gradients, autocast, `torch.compile` and `torch.export` see them."""

from typing import Any

import torch
from torch import Tensor

from panet.ops import native

__all__ = ["can_pool", "pool_levels"]


def can_pool(features: list[Tensor]) -> bool:
    """Tell whether the compiled kernel takes these: on the CPU, all float32 or all bfloat16."""
    dtypes = {x.dtype for x in features}
    on_cpu = all(x.device.type == "cpu" for x in features)
    return native.LIBRARY is not None and on_cpu and dtypes in ({torch.float32}, {torch.bfloat16})


@torch.library.custom_op("panet::pool_levels", mutates_args=(), device_types="cpu")
def pool_levels(
    features: list[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: list[float],
    size: int,
    samples: int,
    aligned: bool,
    channels_first: bool = False,
) -> list[Tensor]:
    """Pool RoIs from L levels. Gradients are the same in every run.

    Args:
        features: L maps (B, C, H_l, W_l) for which `can_pool` holds.
        rois: (R, 5): index of the picture, then xyxy; gets no gradient.
        level_of: (R,) int64, the index of each RoI's one level; None: every level.
        scales: L factors from the boxes' frame to map pixels.
        size: side S of a grid.
        samples: points per bin side; 0: as many as the bin has map pixels.
        aligned: as torchvision's `roi_align` has it.
        channels_first: how grids lie in memory: as a linear layer reads them; else channels_last, as a conv does.
    Returns:
        L grids (R, C, S, S), or one if each RoI has its level.
    """
    maps = [x.contiguous(memory_format=torch.channels_last) for x in features]
    grids = _new_grids(features, rois, level_of, size, channels_first)
    native.pool(maps, grids, rois.float().contiguous(), level_of, scales, samples, aligned)
    return grids


@pool_levels.register_fake
def _(
    features: list[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: list[float],
    size: int,
    samples: int,
    aligned: bool,
    channels_first: bool = False,
) -> list[Tensor]:
    return _new_grids(features, rois, level_of, size, channels_first)


def _new_grids(
    features: list[Tensor], rois: Tensor, level_of: Tensor | None, size: int, channels_first: bool
) -> list[Tensor]:
    shape = (rois.shape[0], features[0].shape[1], size, size)
    num_grids = len(features) if level_of is None else 1
    layout = torch.contiguous_format if channels_first else torch.channels_last
    return [_new(shape, features[0], features[0].dtype, layout) for _ in range(num_grids)]


def _new(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=layout)


@torch.library.custom_op("panet::pool_levels_backward", mutates_args=(), device_types="cpu")
def pool_levels_backward(
    grids: list[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: list[float],
    batch: int,
    heights: list[int],
    widths: list[int],
    samples: int,
    aligned: bool,
) -> list[Tensor]:
    """Give the L maps' gradients, float32 (B, C, H_l, W_l), from those of the grids."""
    if not all(x.is_contiguous() for x in grids):
        grids = [x.contiguous(memory_format=torch.channels_last) for x in grids]
    maps = _new_maps(grids, batch, heights, widths)
    native.pool_backward(grids, maps, rois.float().contiguous(), level_of, scales, samples, aligned)
    return maps


@pool_levels_backward.register_fake
def _(
    grids: list[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: list[float],
    batch: int,
    heights: list[int],
    widths: list[int],
    samples: int,
    aligned: bool,
) -> list[Tensor]:
    return _new_maps(grids, batch, heights, widths)


def _new_maps(grids: list[Tensor], batch: int, heights: list[int], widths: list[int]) -> list[Tensor]:
    channels = grids[0].shape[1]
    sides = zip(heights, widths, strict=True)
    return [
        _new((batch, channels, height, width), grids[0], torch.float32, torch.channels_last) for height, width in sides
    ]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    features, rois, level_of, scales, _, samples, aligned, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(rois, level_of)
    ctx.sizes = (features[0].shape[0], [x.shape[2] for x in features], [x.shape[3] for x in features])
    ctx.dtype = features[0].dtype
    ctx.scales, ctx.sampling = scales, (samples, aligned)


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    rois, level_of = ctx.saved_tensors
    batch, heights, widths = ctx.sizes
    maps: list[Tensor | None] = [None] * len(heights)
    # Of every level, only those whose grids were used; where each RoI has its level, there is one grid for all.
    used = [i for i in range(len(heights)) if gradients[i if level_of is None else 0] is not None]
    grids = [gradients[i] for i in used] if level_of is None else gradients
    if used:
        sides = [[side[i] for i in used] for side in (heights, widths)]
        scales = [ctx.scales[i] for i in used]
        found = pool_levels_backward(grids, rois, level_of, scales, batch, *sides, *ctx.sampling)
        for i, gradient in zip(used, found, strict=True):
            maps[i] = gradient.to(ctx.dtype)
    return maps, None, None, None, None, None, None, None


pool_levels.register_autograd(_backward, setup_context=_remember)
