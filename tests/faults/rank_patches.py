"""What breaks inside one of several processes: each function changes something of panet where it is called."""

import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from faults.patches import in_step
from panet.objective.objective import Objective
from panet.structures import Batch, Target
from panet.train.learner import Learner

RANK = int(os.environ.get("RANK", "0"))


def kill(rank: int, step: int) -> None:
    """Kill a rank in a step; a file `killed` is made before."""

    def act() -> None:
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    if rank == RANK:
        in_step(step, act)


def fail(rank: int, step: int) -> None:
    """Raise a ValueError on a rank in a step."""

    def act() -> None:
        raise ValueError("planted")

    if rank == RANK:
        in_step(step, act)


def blind(rank: int) -> None:
    """Take all objects from what a rank trains on; each rank notes objects, gradients and weights after each step."""
    forward, update = Objective.forward, Learner.update
    seen = 0

    def judging(self: Objective, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        nonlocal seen
        if self.training:
            batch = replace(batch, targets=tuple(map(_without_objects, batch.targets))) if rank == RANK else batch
            seen += sum(map(len, batch.targets))
        return forward(self, batch, generator)

    def updating(self: Learner, step: int) -> tuple[float, float]:
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        whole = all(each.grad is not None and bool(each.grad.isfinite().all()) for each in trained)
        given = update(self, step)
        state: dict[str, Any] = dict(sorted(self.model.state_dict().items()))
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()
        note = {"objects": seen, "gradients": whole, "weights": digest}
        Path(f"rank-{RANK}.json").write_text(json.dumps(note))
        return given

    Objective.forward = judging  # type: ignore[method-assign]
    Learner.update = updating  # type: ignore[method-assign]


def _without_objects(target: Target) -> Target:
    return Target(target.boxes[:0], target.labels[:0], target.masks[:0], target.crowd[:0], target.image_id)
