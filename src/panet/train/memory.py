"""Memory that runs out in a step: told with what was asked of it."""

from collections.abc import Sequence
from types import TracebackType

import torch

from panet.errors import ResourceError
from panet.structures import Batch

__all__ = ["OutOfMemory"]

_SIGNS = ("can't allocate memory", "out of memory", "not enough memory")  # in torch's RuntimeErrors, CPU and GPU


class OutOfMemory:
    """A block in which running out of memory becomes a ResourceError that names the shapes.

    Args:
        step: that the block takes.
        micro_batches: of the step.
    """

    def __init__(self, step: int, micro_batches: Sequence[Batch]) -> None:
        self._step = step
        self._micro_batches = micro_batches

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        told = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
        if not told and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            return
        shapes = ", ".join(str(tuple(batch.images.tensor.shape)) for batch in self._micro_batches)
        num_objects = sum(len(target.labels) for batch in self._micro_batches for target in batch.targets)
        raise ResourceError(
            f"step {self._step}: memory ran out on a batch of shape {shapes} (pictures, channels, height, width) with "
            f"{num_objects} objects: lower data.batch_size, data.short_sides or data.max_side"
        ) from error
