"""The losses on pictures that do not train."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from panet.data.dataset import sample_generator
from panet.structures import Batch
from panet.train.distributed import ALONE, Ranks

__all__ = ["losses_by_batch", "mean_losses"]


def losses_by_batch(
    objective: nn.Module, batches: Iterable[Batch], device: torch.device, seed: int, ranks: Ranks = ALONE
) -> list[dict[str, float]]:
    """Give the losses of each batch; the objective's mode is as before afterwards.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        batches: this rank's: numbers rank, rank + size, ... of all.
        device: that the objective is on.
        seed: the draws of batch i come from (seed, i), so that two calls compare.
        ranks: whose batches these are.
    """
    modes = [(module, module.training) for module in objective.modules()]
    objective.eval()
    found: list[dict[str, float]] = []
    try:
        with torch.inference_mode():
            for batch in batches:
                number = ranks.rank + len(found) * ranks.size
                losses = objective(batch.to(device), sample_generator(seed, 0, number))
                found.append({name: float(loss) for name, loss in losses.items()})
    finally:
        for module, training in modes:
            module.training = training
    return found


def mean_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give the mean of each loss over batches, at least one, and the means' sum as "total"."""
    means = {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}
    return means | {"total": sum(means.values())}
