"""Calls of the compiled 3x3 conv, memory in and memory out."""

import ctypes

import torch
from torch import Tensor

from panet.ops import native

__all__ = ["convolve", "transform_weights"]


class _Convolution(ctypes.Structure):
    """`struct Convolution` of kernels/winograd.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "height", "width", "inputs", "outputs")),
        *((name, ctypes.c_int64) for name in ("is_bfloat16", "has_pairs", "num_threads")),
        *((name, ctypes.c_float) for name in ("lowest", "highest")),
        *((name, ctypes.c_void_p) for name in ("map", "weights", "bias", "addend", "result")),
    )


class _Weights(ctypes.Structure):
    """`struct Weights` of kernels/winograd_weights.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("outputs", "inputs")),
        *((name, ctypes.c_int64) for name in ("by_output", "by_input", "by_row", "by_column")),
        *((name, ctypes.c_int64) for name in ("has_pairs", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("kernels", "result")),
    )


def convolve(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    lowest: float,
    highest: float,
) -> Tensor:
    """Give a 3x3 conv of stride 1, padded with zeros, plus bias and addend, cut to lowest .. highest.

    Args:
        x: (N, C, H, W) float32 or bfloat16, on the CPU, in channels_last memory.
        weights: of `winograd.transform_weights`.
        bias: (K,) float32 or None.
        addend: (N, K, H, W) of the type and memory of `x`, or None.
    Returns:
        (N, K, H, W) of the type and memory of `x`. Sums are float32.
    """
    assert native.LIBRARY is not None
    (batch, inputs, height, width), outputs = x.shape, weights.shape[1] * 16
    result = torch.empty((batch, outputs, height, width), dtype=x.dtype, memory_format=torch.channels_last)
    assert x.dtype in (torch.float32, torch.bfloat16)
    has_pairs = weights.dtype == torch.bfloat16
    assert weights.shape == ((36, outputs // 16, inputs // 2, 16, 2) if has_pairs else (36, outputs // 16, inputs, 16))
    assert inputs % 16 == 0
    assert bias is None or (bias.shape == (outputs,) and bias.dtype == torch.float32 and bias.is_contiguous())
    assert addend is None or (addend.shape == result.shape and addend.dtype == x.dtype)
    assert weights.is_contiguous()
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in (x, addend) if each is not None)
    call = _Convolution(
        *(batch, height, width, inputs, outputs),
        *(int(x.dtype == torch.bfloat16), int(has_pairs), torch.get_num_threads()),
        *(lowest, highest, x.data_ptr(), weights.data_ptr()),
        *(None if each is None else each.data_ptr() for each in (bias, addend)),
        result.data_ptr(),
    )
    if not native.LIBRARY.panet_convolve(ctypes.byref(call)):
        raise MemoryError("a 3x3 convolution")
    return result


def transform_weights(weight: Tensor, pairs: bool, mirrored: bool) -> Tensor:
    """Give the kernels of 3x3 convs as `convolve` reads them.

    Args:
        weight: (K, C, 3, 3) float32, on the CPU, K and C multiples of 16.
        pairs: round them to bfloat16, for products of pairs.
        mirrored: of the conv that gives the gradient of the maps: from K to C, with the taps turned round.
    Returns:
        (36, K / 16, C, 16) float32, or (36, K / 16, C / 2, 16, 2) bfloat16; K and C exchanged if mirrored.
    """
    assert native.LIBRARY is not None
    outputs, inputs, *sides = weight.shape
    assert sides == [3, 3]
    assert outputs % 16 == inputs % 16 == 0
    assert weight.dtype == torch.float32
    weight = weight.detach()
    by_output, by_input, by_row, by_column = weight.stride()
    first = weight.data_ptr()
    if mirrored:
        first += weight.element_size() * 2 * (by_row + by_column)
        outputs, inputs, by_output, by_input = inputs, outputs, by_input, by_output
        by_row, by_column = -by_row, -by_column
    shape = (36, outputs // 16, inputs // 2, 16, 2) if pairs else (36, outputs // 16, inputs, 16)
    result = torch.empty(shape, dtype=torch.bfloat16 if pairs else torch.float32)
    call = _Weights(
        *(outputs, inputs, by_output, by_input, by_row, by_column),
        *(int(pairs), torch.get_num_threads(), first, result.data_ptr()),
    )
    if not native.LIBRARY.panet_transform_weights(ctypes.byref(call)):
        raise MemoryError("the weights of a 3x3 convolution")
    return result
