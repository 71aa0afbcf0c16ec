"""A fixed number of positives and negatives, drawn from a given generator."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Sampled", "choose", "sample"]


class Sampled(NamedTuple):
    """Two disjoint lists of indices, int64, ascending."""

    positive: Tensor
    negative: Tensor


def choose(candidates: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draw `num` of the (N,) candidates without replacement, in their order; all of them if there are no more."""
    if len(candidates) <= num:
        return candidates
    drawn = torch.randperm(len(candidates), generator=generator, device=generator.device)[:num]
    return candidates[drawn.sort().values.to(candidates.device)]


def sample(labels: Tensor, num: int, positive_fraction: float, generator: torch.Generator) -> Sampled:
    """Draw up to `num` indices: at most the fraction of positives, the rest negatives.

    Args:
        labels: (N,) 1 and above positive, 0 negative, below 0 ignored.
        num: indices in all.
        positive_fraction: the share of `num` that positives may fill.
        generator: where the draws come from.
    """
    positive = choose((labels > 0).nonzero().flatten(), int(num * positive_fraction), generator)
    negative = choose((labels == 0).nonzero().flatten(), num - len(positive), generator)
    return Sampled(positive, negative)
