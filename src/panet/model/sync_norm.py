"""Batch norm over the pictures of all processes (SyncBN, Sec. 4.1), on a CPU too, where torch's own refuses."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["SyncBatchNorm", "synchronise_norms"]


class SyncBatchNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm; in one process, or with fixed statistics, a plain batch norm.

    On a CPU of several processes: two sums over all of them, of values and of squared distances from the mean, and as
    many in the backward pass. The statistics are then those of the joined batch, however the pictures are shared out.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.drop: nn.Module | None = None
        self.act: nn.Module | None = None  # timm's batch norms bring their activation along

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        y = self._over_all(x) if self.training and several and x.device.type == "cpu" else super().forward(x)
        for layer in (self.drop, self.act):
            y = y if layer is None else layer(y)
        return y

    def _over_all(self, x: Tensor) -> Tensor:
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        across = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = values.new_tensor([x.numel() / x.shape[1]])
        sums = _sum_over_ranks(torch.cat((values.sum(across), count)))
        num = float(sums[-1])
        mean = sums[:-1] / num
        centred = values - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(across)) / num
        self._follow(mean.detach(), variance.detach() * num / max(num - 1, 1))
        scaled = centred * (variance + self.eps).rsqrt().view(shape)
        return (scaled * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, by this batch's share of them."""
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def synchronise_norms(body: nn.Module) -> None:
    """Replace the batch norms of a module, timm's with activations too; names and values stay."""
    for name, norm in list(body.named_modules()):
        if isinstance(norm, _BatchNorm) and not isinstance(norm, SyncBatchNorm):
            synchronised = SyncBatchNorm(norm.num_features, norm.eps, norm.momentum)
            synchronised.load_state_dict(norm.state_dict())
            synchronised.drop, synchronised.act = getattr(norm, "drop", None), getattr(norm, "act", None)
            body.set_submodule(name, synchronised)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverRanks.forward(_ctx, gradient.contiguous())  # what every rank lost by this one's share


def _sum_over_ranks(own: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(own)
    return total
