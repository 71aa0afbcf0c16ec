"""Layers as oneDNN runs them best: weights laid out once, bias, sum and activation in the same pass. CPU, no gradients.

The operators are those that torch's own compiler lowers to; what they compute is that of the layer they are made from.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from panet.ops import winograd

__all__ = [
    "NO_ACTIVATION",
    "FusedConv",
    "FusedDeconv",
    "FusedLinear",
    "WinogradConv",
    "activation_of",
    "can_fuse",
    "can_take",
    "fuse_conv",
]

Activation = tuple[str, list[float]]
"""oneDNN's name of an activation, and its scalars."""

NO_ACTIVATION: Activation = ("none", [])
_RELU: Activation = ("relu", [])
_RELU6: Activation = ("hardtanh", [0.0, 6.0])

# What each cuts its input to.
_BOUNDS = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "hardtanh": (0.0, 6.0)}


def can_fuse(device: torch.device) -> bool:
    """Tell whether these layers run on a device: a CPU, with a torch that has oneDNN."""
    return device.type == "cpu" and bool(torch._C._has_mkldnn)


def activation_of(module: nn.Module | None) -> Activation | None:
    """Give the activation that a layer can take over from the module after it; None if it cannot."""
    kinds: dict[type, Activation] = {nn.ReLU: _RELU, nn.ReLU6: _RELU6}
    return kinds.get(type(module))


def fuse_conv(conv: nn.Conv2d, dtype: torch.dtype, activation: Activation = NO_ACTIVATION) -> nn.Module:
    """Give the faster of the two convs here; arguments as theirs."""
    geometry = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    is_plain = geometry == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
    if is_plain and winograd.can_convolve(conv.weight, dtype):
        return WinogradConv(conv, dtype, activation)
    return FusedConv(conv, dtype, activation)


class WinogradConv(nn.Module):
    """As `FusedConv`, with a quarter of the multiplications: 3x3, stride 1, where `winograd.can_convolve` holds.

    Its weights are four times as large, and its sums are float32.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, activation: Activation = NO_ACTIVATION) -> None:
        super().__init__()
        assert can_take(conv)
        self.weight = winograd.transform_weights(conv.weight.float(), dtype)
        self.bias = None if conv.bias is None else conv.bias.detach().float()
        self.bounds = _BOUNDS[activation[0]]

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Give activation(conv(x) + addend), channels last; a whole batch of nothing is (0, C', H', W')."""
        x = x.contiguous(memory_format=torch.channels_last)
        addend = None if addend is None else addend.contiguous(memory_format=torch.channels_last)
        y: Tensor = winograd.convolve(x, self.weight, self.bias, addend, *self.bounds)
        return y


class FusedConv(nn.Module):
    """Conv, then the sum with another map of its output's shape if one is given, then the activation.

    Args:
        conv: with zero padding; of a single group if it is to take a sum along.
        dtype: of weights, input and output.
        activation: what follows.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, activation: Activation = NO_ACTIVATION) -> None:
        super().__init__()
        assert can_take(conv)
        # oneDNN takes four times as long as it needs where a wide 1x1 conv leaves pixels out: leave them out before.
        self.step = conv.stride[0] if conv.kernel_size == (1, 1) and conv.in_channels > 512 else 1
        stride = [1, 1] if self.step > 1 else _pair(conv.stride)
        self.geometry: tuple[Any, ...] = (_pair(conv.padding), stride, _pair(conv.dilation), conv.groups)
        self.activation = activation
        self.outputs = conv.out_channels
        weight = conv.weight.detach().to(dtype, memory_format=torch.channels_last)
        # Laid out for maps of about this size; others cost nothing but a layout that may not be the very best.
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *self.geometry, [1, conv.in_channels, 64, 64]
        )
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Give activation(conv(x) + addend), channels last; a whole batch of nothing is (0, C', H', W')."""
        name, scalars = self.activation
        x = x[:, :, :: self.step, :: self.step].contiguous(memory_format=torch.channels_last)
        if addend is None:
            y: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *self.geometry, name, scalars, ""
            )
            return y
        addend = addend.contiguous(memory_format=torch.channels_last)
        unary = None if name == "none" else name
        summed: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, addend, self.weight, self.bias, *self.geometry, "add", None, unary, scalars, ""
        )
        return summed


class FusedLinear(nn.Module):
    """Linear layer, then the activation: (..., F) -> (..., F').

    Args:
        weight: (F', F).
        bias: (F',) or None.
        dtype: of weights, input and output.
        activation: what follows.
        side: if above 0, the input is grids (R, C, side, side) with F = C * side**2, read where they lie: row by row,
            channels side by side.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        activation: Activation = NO_ACTIVATION,
        *,
        side: int = 0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.side = side
        if side:
            weight = weight.view(len(weight), -1, side, side).permute(0, 2, 3, 1).flatten(1)
        packed = weight.detach().to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(packed, 1000)  # laid out for about so many rows
        self.bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.side:
            x = x.permute(0, 2, 3, 1).flatten(1)  # (R, S * S * C): a view of grids that lie channels last
        name, scalars = self.activation
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, scalars, "")
        return y


class FusedDeconv(nn.Module):
    """The `quarters` of `mask_head.Deconv`."""

    def __init__(self, deconv: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        super().__init__()
        weight = deconv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * C', C)
        self.product = FusedLinear(weight, None if deconv.bias is None else deconv.bias.repeat(4), dtype, _RELU)

    def quarters(self, pixels: Tensor) -> Tensor:
        """Give (..., 4 * C') of (..., C), as `Deconv.quarters`."""
        y: Tensor = self.product(pixels)
        return y


def can_take(conv: nn.Conv2d) -> bool:
    """Tell whether `FusedConv` computes what a conv does; timm's with padding by the input's size compute another."""
    return type(conv) is nn.Conv2d and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _pair(sides: Any) -> list[int]:
    return [int(side) for side in sides]
