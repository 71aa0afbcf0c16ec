"""3x3 convs by Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): a quarter of the multiplications.

The compiled kernel does it, kernels/winograd.cpp; here are its operator and its weights.
"""

import torch
from torch import Tensor

from panet.ops import native, native_winograd

__all__ = ["can_convolve", "convolve", "transform_weights"]

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


def transform_weights(weight: Tensor, dtype: torch.dtype, *, mirrored: bool = False) -> Tensor:
    """Give G w G^T of every kernel as the compiled conv reads it.

    Row p of G is [1, p, p**2] / prod(p - q) over the other points q, that of infinity [0, 0, 1].

    Args:
        weight: (K, C, 3, 3) float32.
        dtype: of the maps. bfloat16 asks for products of bfloat16, which round three times as much as a conv of torch
            does; without an instruction for them they are float32.
        mirrored: give those of the conv that turns the gradient of a result into that of the map: C outputs, K inputs.
    Returns:
        (36, K / 16, C, 16) float32, or (36, K / 16, C / 2, 16, 2) bfloat16.
    """
    return native_winograd.transform_weights(weight, dtype == torch.bfloat16 and native.has_pairs(), mirrored)


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
    return native_winograd.convolve(x, weights, bias, addend, lowest, highest)


@convolve.register_fake
def _(x: Tensor, weights: Tensor, bias: Tensor | None, addend: Tensor | None, lowest: float, highest: float) -> Tensor:
    shape = (x.shape[0], weights.shape[1] * _PANEL, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
