"""A loss that is spoiled in one step, on one rank."""

import itertools

import torch
from torch import Tensor

from panet.data.dataset import sample_generator
from panet.objective.objective import Objective
from panet.structures import Batch

_OBJECTIVE = -2  # as in panet.train.loop: the draws of a step on rank r are those of -2 - r


def plant(seed: int, step: int, rank: int, times: int | None = None) -> None:
    """Multiply a loss by NaN, so many times; else whenever the step is made: a replay meets it too."""
    forward, mark = Objective.forward, sample_generator(seed, step, _OBJECTIVE - rank).initial_seed()

    calls = itertools.count(1)

    def spoiled(self: Objective, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        losses = forward(self, batch, generator)
        if generator.initial_seed() != mark or (times is not None and next(calls) > times):
            return losses
        return losses | {"mask": losses["mask"] * torch.nan}

    Objective.forward = spoiled  # type: ignore[method-assign]
