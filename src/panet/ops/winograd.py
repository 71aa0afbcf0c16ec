"""3x3 convs by Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): a quarter of the multiplications.

The compiled kernel does it, kernels/winograd.cpp; here are its operator and its weights.
"""

import torch
from torch import Tensor

from panet.ops import native

__all__ = ["can_convolve", "convolve", "transform_weights"]

# The kernel's points along an axis; the sixth is infinity.
_POINTS = (0.0, 0.6875, -0.6875, 1.5, -1.5)
_PANEL = 16


def can_convolve(weight: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether the kernel takes a conv of this weight, and is faster with it than torch.

    Where hardware multiplies bfloat16 many times faster than float32 (AMX), torch is.

    Args:
        weight: (K, C, 3, 3), of a conv of stride 1, padded by 1, of one group.
        dtype: of the maps.
    """
    outputs, inputs, *kernel = weight.shape
    fits = kernel == [3, 3] and inputs % _PANEL == 0 and outputs % _PANEL == 0
    known = dtype == torch.float32 or (dtype == torch.bfloat16 and not torch.cpu._is_amx_tile_supported())
    return native.LIBRARY is not None and fits and known and native.vectors() != "baseline"


def transform_weights(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Give G w G^T of every kernel as the compiled conv reads it.

    Row p of G is [1, p, p**2] / prod(p - q) over the other points q, that of infinity [0, 0, 1]; in float64.

    Args:
        weight: (K, C, 3, 3).
        dtype: of the maps. bfloat16 asks for products of bfloat16, which round three times as much as a conv of torch
            does; without an instruction for them they are float32.
    Returns:
        (36, K / 16, C, 16) float32, or (36, K / 16, C / 2, 16, 2) bfloat16.
    """
    rows = []
    for point in _POINTS:
        scale = 1.0
        for other in _POINTS:
            scale *= point - other if other != point else 1.0
        rows.append([1 / scale, point / scale, point**2 / scale])
    g = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    outputs, inputs = weight.shape[:2]
    places = torch.einsum("ai,kcij,bj->abkc", g, weight.detach().double(), g)  # (6, 6, K, C)
    if dtype == torch.bfloat16 and native.has_pairs():
        pairs = places.reshape(len(g) ** 2, outputs // _PANEL, _PANEL, inputs // 2, 2)
        return pairs.permute(0, 1, 3, 2, 4).bfloat16().contiguous()
    panels = places.reshape(len(g) ** 2, outputs // _PANEL, _PANEL, inputs).transpose(2, 3)
    return panels.float().contiguous()


@torch.library.custom_op("panet::convolve", mutates_args=(), device_types="cpu")
def convolve(
    x: Tensor, weights: Tensor, bias: Tensor | None, addend: Tensor | None, lowest: float, highest: float
) -> Tensor:
    """Give a 3x3 conv of stride 1, padded with zeros, plus bias and addend, cut to lowest .. highest. No gradients.

    Args:
        x: (N, C, H, W) float32 or bfloat16, channels last.
        weights: of `transform_weights`.
        bias: (K,) float32 or None.
        addend: (N, K, H, W) like `x`, or None.
    Returns:
        (N, K, H, W) like `x`; sums are float32.
    """
    return native.convolve(x, weights, bias, addend, lowest, highest)


@convolve.register_fake
def _(x: Tensor, weights: Tensor, bias: Tensor | None, addend: Tensor | None, lowest: float, highest: float) -> Tensor:
    shape = (x.shape[0], weights.shape[1] * _PANEL, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
