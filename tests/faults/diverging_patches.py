"""A loss that is spoiled in one step, on one rank."""

import torch
from torch import Tensor

from panet.data.dataset import sample_generator
from panet.objective.objective import Objective
from panet.structures import Batch

_OBJECTIVE = -2  # as in panet.train.loop: the draws of a step on rank r are those of -2 - r


def plant(seed: int, step: int, rank: int) -> None:
    """Multiply a loss by NaN; a replay of the step meets it too."""
    forward, mark = Objective.forward, sample_generator(seed, step, _OBJECTIVE - rank).initial_seed()

    def spoiled(self: Objective, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        losses = forward(self, batch, generator)
        return losses | {"mask": losses["mask"] * torch.nan} if generator.initial_seed() == mark else losses

    Objective.forward = spoiled  # type: ignore[method-assign]
