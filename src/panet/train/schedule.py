"""The learning rate as a function of the step alone: nothing to save, nothing to restore."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Step -> factor on the learning rate: a linear warm-up, then steps down or half a cosine.

    Args:
        kind: "step" multiplies by 0.1 at each milestone; "cosine" falls to 0 after the last step.
        num_steps: of the whole run.
        warmup_steps: how long the warm-up takes.
        warmup_factor: where it starts.
        milestones: shares of all steps.
    """

    kind: Literal["step", "cosine"]
    num_steps: int
    warmup_steps: int = 0
    warmup_factor: float = 1.0
    milestones: tuple[float, ...] = ()

    def __call__(self, step: int) -> float:
        """Give the factor of step 1 .. num_steps."""
        done = step - 1
        if done < self.warmup_steps:
            share = done / self.warmup_steps
            return self.warmup_factor * (1 - share) + share
        if self.kind == "step":
            return float(0.1 ** sum(done >= milestone * self.num_steps for milestone in self.milestones))
        return 0.5 + 0.5 * math.cos(math.pi * (done - self.warmup_steps) / (self.num_steps - self.warmup_steps))
