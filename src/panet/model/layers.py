"""What every stage is built of: conv or linear + norm + ReLU, and the initialisations of the released code."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from panet.model.sync_norm import SyncBatchNorm
from panet.ops.lean import lean_linear

__all__ = ["ConvBlock", "LinearBlock", "NormFactory", "gaussian_fill", "msra_fill", "norm_factory", "xavier_fill"]

NormFactory: TypeAlias = Callable[[int], nn.Module] | None
"""Number of channels -> norm layer; None: no norm, and the conv before it has a bias."""


def norm_factory(kind: Literal["none", "group", "batch", "sync_batch"], groups: int) -> NormFactory:
    """Give the norm that every new layer gets (GN in the released code, SyncBN in the paper, Sec. 4.1)."""
    factories: dict[str, NormFactory] = {
        "none": None,
        "group": partial(nn.GroupNorm, groups),
        "batch": nn.BatchNorm2d,
        "sync_batch": SyncBatchNorm,
    }
    return factories[kind]


class ConvBlock(nn.Sequential):
    """Conv, then norm, then ReLU, each of the latter two only where asked for.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side; padded so that stride 1 keeps the size.
        stride: of the conv.
        norm: the norm, or None.
        relu: whether a ReLU follows.
        bias: of the conv; by default only where no norm follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        norm: NormFactory = None,
        relu: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        bias = norm is None if bias is None else bias
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        if norm is not None:
            self.norm = norm(outputs)
        if relu:
            self.relu = nn.ReLU()


class LinearBlock(nn.Sequential):
    """Linear layer with a bias, then norm where there is one, then ReLU: (R, ...) -> (R, outputs)."""

    linear: nn.Linear

    def __init__(self, inputs: int, outputs: int, norm: NormFactory = None) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(inputs, outputs)
        if norm is not None:
            # BatchNorm2d refuses vectors; GroupNorm and SyncBatchNorm take them.
            self.norm = nn.BatchNorm1d(outputs) if norm is nn.BatchNorm2d else norm(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, remake: Callable[[], Tensor] | None = None) -> Tensor:
        """Apply all of it; what autograd would keep of `x` is made again by `remake`, if it is given."""
        if remake is None:
            result: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch has no types there
            return result
        x = lean_linear(self.flatten(x), self.linear.weight, self.linear.bias, lambda: self.flatten(remake()))
        for layer in list(self)[2:]:
            x = layer(x)
        return x


def xavier_fill(module: nn.Module) -> None:
    """Fill conv and linear weights with U(-a, a), a = sqrt(3 / fan_in), and biases with 0 (Caffe2's XavierFill)."""
    _fill(module, partial(nn.init.kaiming_uniform_, a=1))


def msra_fill(module: nn.Module) -> None:
    """Fill conv and linear weights with N(0, sqrt(2 / fan_out)) and biases with 0 (Caffe2's MSRAFill)."""
    _fill(module, partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"))


def gaussian_fill(module: nn.Module, std: float) -> None:
    """Fill conv and linear weights with N(0, std) and biases with 0."""
    _fill(module, partial(nn.init.normal_, std=std))


def _fill(module: nn.Module, fill: Callable[[Tensor], Tensor]) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            with torch.no_grad():
                fill(layer.weight)
                if layer.bias is not None:
                    layer.bias.zero_()
