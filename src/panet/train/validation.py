"""The losses on pictures that do not train."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import nn

from panet.data.dataset import sample_generator
from panet.structures import Batch

__all__ = ["validation_losses"]


def validation_losses(
    objective: nn.Module, batches: Iterable[Batch], device: torch.device, seed: int
) -> dict[str, float]:
    """Give the mean of each loss over batches, and their sum as "total"; the objective's mode is as before afterwards.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        batches: at least one.
        device: that the objective is on.
        seed: the draws of batch i come from (seed, i), so that two calls compare.
    """
    modes = [(module, module.training) for module in objective.modules()]
    objective.eval()
    sums: defaultdict[str, float] = defaultdict(float)
    num_batches = 0
    try:
        with torch.inference_mode():
            for batch in batches:
                losses = objective(batch.to(device), sample_generator(seed, 0, num_batches))
                for name, loss in losses.items():
                    sums[name] += float(loss)
                num_batches += 1
    finally:
        for module, training in modes:
            module.training = training
    means = {name: value / num_batches for name, value in sums.items()}
    return means | {"total": sum(means.values())}
