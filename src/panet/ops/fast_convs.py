"""3x3 convs that train, by Winograd's F(4x4, 3x3): the result and the gradient of the map, not that of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import conv2d
from torch.overrides import TorchFunctionMode

from panet.ops.lean import lean_conv
from panet.ops.winograd import can_convolve, convolve, transform_weights

__all__ = ["FastConvs", "single_products"]

_may_pair: ContextVar[bool] = ContextVar("_may_pair", default=True)

# The weights are transformed in every step; for fewer pixels that takes longer than it saves.
_FEWEST_PIXELS = 1024


class FastConvs(TorchFunctionMode):
    """While entered, convs of 3x3, stride 1 and padding 1 on a CPU take the compiled kernel where that is faster.

    It rounds more than torch's: twice as much in float32; under autocast to bfloat16, on a processor that multiplies
    pairs of them, four times as much, about 1 % of the result, but not in `single_products`. Models for inference have
    the same kernel and the same products (`panet.model.fast`). Other convs give the bits of torch; what autocast would
    keep of their weights is cast again.
    """

    def __torch_function__(
        self, function: Any, kinds: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if function is conv2d:
            call = _Call(*arguments, **(named or {}))
            cast = _cast_type(call.input)
            x = call.input if cast is None else call.input.to(cast)
            if call.is_plain() and call.fits(x) and (cast is not None or x.dtype == torch.float32):
                with torch.autocast("cpu", enabled=False):
                    return _FastConv.apply(x, call.weight, call.bias, _may_pair.get())
            if cast is not None and call.keeps_cast_weights():
                return lean_conv(x, *call[1:])
        return function(*arguments, **(named or {}))


@contextmanager
def single_products() -> Iterator[None]:
    """In it, `FastConvs` multiplies in float32, also under autocast to bfloat16, where it then rounds as torch does."""
    token = _may_pair.set(False)
    try:
        yield
    finally:
        _may_pair.reset(token)


class _Call(NamedTuple):
    """Arguments of `conv2d`, by its names."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def is_plain(self) -> bool:
        return all(side in (1, (1, 1), [1, 1]) for side in (self.stride, self.padding, self.dilation))

    def keeps_cast_weights(self) -> bool:
        """Tell whether autocast would keep the weights in its type for the backward pass."""
        trains = torch.is_grad_enabled() and self.weight.requires_grad and self.weight.dtype == torch.float32
        sides = all(isinstance(side, int | tuple) for side in (self.stride, self.padding, self.dilation))
        return trains and sides and self.input.dim() == 4

    def fits(self, x: Tensor) -> bool:
        """Tell whether the compiled kernel takes the map, already cast, and is faster."""
        parameters = [each for each in (self.weight, self.bias) if each is not None]
        if x.dim() != 4 or any(each.device.type != "cpu" for each in (x, *parameters)):
            return False
        batch, channels, height, width = x.shape
        if batch * height * width < _FEWEST_PIXELS or self.weight.shape[1:2] != (channels,):  # groups have fewer
            return False
        return all(each.dtype == torch.float32 for each in parameters) and can_convolve(self.weight, x.dtype)


def _cast_type(x: Tensor) -> torch.dtype | None:
    """Give the type to which autocast casts a map on the CPU; None: it does not."""
    casts = torch.is_autocast_enabled("cpu") and x.device.type == "cpu" and x.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if casts else None


class _FastConv(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, may_pair: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.products = x.dtype if may_pair else torch.float32
        return _convolve(x, transform_weights(weight, ctx.products), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = of_bias = None
        if for_x:
            of_x = _convolve(gradient, transform_weights(weight, ctx.products, mirrored=True), None)
        if for_weight or for_bias:
            shape = torch.empty_like(weight, dtype=x.dtype)  # of the weights; what they are is of no matter here
            _, of_weight, of_bias = torch.ops.aten.convolution_backward(
                *(gradient, x, shape, [weight.shape[0]], [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
                [False, for_weight, for_bias],
            )
            of_weight, of_bias = (None if each is None else each.to(weight.dtype) for each in (of_weight, of_bias))
        return of_x, of_weight, of_bias, None


def _convolve(x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    bias = None if bias is None else bias.detach().contiguous()
    y: Tensor = convolve(x, weights, bias, None, -math.inf, math.inf)
    return y
