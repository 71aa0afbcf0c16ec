"""Layers that keep less between the forward and the backward pass than autograd would: what is cheap to make again."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.amp import is_autocast_available
from torch.autograd import Function
from torch.nn.functional import batch_norm, conv2d, linear
from torch.overrides import TorchFunctionMode

__all__ = ["LeanNorms", "lean_conv", "lean_linear"]

_SIGNATURE = signature(batch_norm)


def lean_linear(x: Tensor, weight: Tensor, bias: Tensor | None, remake: Callable[[], Tensor] | None = None) -> Tensor:
    """Apply a linear layer; under autocast its weights are not kept in the lower precision, but cast again.

    Args:
        x: (R, I).
        weight: (O, I).
        bias: (O,) or None.
        remake: makes `x` again, which then is not kept either; None: it is.
    Returns:
        (R, O), as `torch.nn.functional.linear` gives it.
    """
    kind = x.device.type
    if not is_autocast_available(kind):  # the meta device
        return linear(x, weight, bias)
    if torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    with torch.autocast(kind, enabled=False):
        result: Tensor = _Linear.apply(x, weight, bias, remake)
    return result


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, remake: Callable[[], Tensor] | None
    ) -> Tensor:
        ctx.remake = remake
        ctx.save_for_backward(weight, bias, x if remake is None else None)
        return linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        weight, bias, x = ctx.saved_tensors
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        of_weight = None
        if for_weight:
            made = (x if ctx.remake is None else ctx.remake()).to(gradient.dtype)
            of_weight = (gradient.t() @ made).to(weight.dtype)
            del made
        of_x = gradient @ weight.to(gradient.dtype) if for_x else None
        of_bias = gradient.sum(0).to(bias.dtype) if for_bias else None
        return of_x, of_weight, of_bias, None


def lean_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    groups: int,
) -> Tensor:
    """Apply a conv in the type of its map; its weights are not kept in that type, but cast again.

    Args:
        x: (N, C, H, W) on the CPU.
        weight: (K, C / groups, h, w).
        bias: (K,) or None.
        stride, padding, dilation, groups: as `torch.nn.functional.conv2d` takes them.
    """
    sides = [[side, side] if isinstance(side, int) else list(side) for side in (stride, padding, dilation)]
    with torch.autocast("cpu", enabled=False):
        result: Tensor = _LeanConv.apply(x, weight, bias, sides, groups)
    return result


class _LeanConv(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, sides: list[list[int]], groups: int
    ) -> Tensor:
        ctx.sides, ctx.groups = sides, groups
        ctx.save_for_backward(x, weight)
        stride, padding, dilation = sides
        bias = None if bias is None else bias.to(x.dtype)
        return conv2d(x, weight.to(x.dtype), bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            *(gradient, x, weight.to(x.dtype), [len(weight)], *ctx.sides, False, [0, 0], ctx.groups),
            ctx.needs_input_grad[:3],
        )
        of_weight, of_bias = (None if each is None else each.to(weight.dtype) for each in (of_weight, of_bias))
        return of_x, of_weight, of_bias, None, None


class LeanNorms(TorchFunctionMode):
    """While entered, batch norms whose statistics, scale and shift are fixed do not keep their input.

    Such a norm is one factor a channel, and so is its gradient.
    """

    def __torch_function__(
        self, function: Any, kinds: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if function is batch_norm:
            call = _SIGNATURE.bind(*arguments, **(named or {}))
            call.apply_defaults()
            x, mean, variance, weight, bias, training, _, epsilon = call.args
            fixed = not training and not any(each is None or each.requires_grad for each in (weight, bias))
            if fixed and x.requires_grad:
                return _FrozenNorm.apply(x, mean, variance, weight, bias, epsilon)
        return function(*arguments, **(named or {}))


class _FrozenNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, epsilon: float
    ) -> Tensor:
        ctx.epsilon = epsilon
        ctx.save_for_backward(mean, variance, weight)
        return batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        mean, variance, weight = ctx.saved_tensors
        # The norm of a gradient, without mean and shift, is its product with the factor.
        zero = torch.zeros_like(mean)
        return batch_norm(gradient, zero, variance, weight, zero, False, 0.0, ctx.epsilon), *(None,) * 5
