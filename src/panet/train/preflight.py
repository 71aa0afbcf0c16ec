"""A step's forward and backward pass before the first step, with nothing changed by it."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from panet.data.dataset import sample_generator
from panet.errors import DivergedError
from panet.structures import Batch
from panet.train.memory import OutOfMemory
from panet.train.room import peak_memory

__all__ = ["Rehearsal", "rehearse", "untouched"]

_REHEARSAL = -3  # marks its draws; those of a step are -2


@dataclass(frozen=True)
class Rehearsal:
    """What a batch took.

    Args:
        forward, backward: seconds.
        peak: bytes that the process has had at most by now; None where that cannot be told.
    """

    forward: float
    backward: float
    peak: int | None


def rehearse(objective: nn.Module, batch: Batch, device: torch.device, mixed_precision: bool, name: str) -> Rehearsal:
    """Run a batch forwards and backwards; gradients are added to those that are there.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        batch: on the CPU.
        device: of the objective.
        mixed_precision: run the forward pass in bf16 where that is safe.
        name: of the batch, for messages.

    Raises:
        DivergedError: a loss is not finite.
        ResourceError: memory runs out.
    """
    with OutOfMemory(0, [batch]):
        moved = batch.to(device)
        start = _now(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
            losses: dict[str, Tensor] = objective(moved, sample_generator(0, 0, _REHEARSAL))
        middle = _now(device)
        values = {key: float(loss.detach()) for key, loss in losses.items()}
        if not all(map(math.isfinite, values.values())):
            listed = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            pictures = ", ".join(map(repr, batch.image_ids))
            raise DivergedError(
                f"before the first step, {name}: a loss is not finite ({listed}) on images {pictures}: "
                "start from other weights, or look at these pictures"
            )
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]  # torch has no types there
        end = _now(device)
    return Rehearsal(middle - start, end - middle, peak_memory(device))


@contextlib.contextmanager
def untouched(objective: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave a module on a device in train mode for a while; then put back its mode, its buffers and all global draws.

    There are no gradients afterwards; weights are not changed by a forward or a backward pass.
    """
    modes = [(module, module.training) for module in objective.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        objective.train()
        try:
            yield
        finally:
            objective.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            for module, training in modes:
                module.training = training


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
