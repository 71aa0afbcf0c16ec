"""Batches from processes that read ahead: errors arrive in one line, deaths and hangs too."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from panet.data.dataset import Key
from panet.data.workers import WorkerWatch, leave_signals, signals_kept_back
from panet.errors import DataError

__all__ = ["WORKER_TIMEOUT", "Made", "Unreadable", "build_loader", "tolerant"]

WORKER_TIMEOUT = 300.0
"""Seconds without a batch after which reading counts as hanging."""

_T = TypeVar("_T")


class Made(NamedTuple, Generic[_T]):
    """What was made, and why some pictures are not in it."""

    batch: _T
    dropped: tuple[DataError, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """Comes in the place of a batch of one picture that can no longer be read: the picture's name, and why."""

    why: DataError


def tolerant(make: Callable[[list[Key]], Made[_T]]) -> Callable[[list[Key]], Made[_T | Unreadable]]:
    """Change what makes batches so that it gives Unreadable instead of raising DataError."""
    return partial(_make_or_tell, make)


def _make_or_tell(make: Callable[[list[Key]], Made[_T]], keys: list[Key]) -> Made[_T | Unreadable]:
    try:
        return Made(make(keys).batch)
    except DataError as error:
        return Made(Unreadable(error))


def build_loader(
    make: Callable[[list[Key]], Made[_T]],
    sampler: Sampler[list[Key]],
    workers: int,
    timeout: float | None = WORKER_TIMEOUT,
    on_drop: Callable[[DataError], None] | None = None,
) -> DataLoader[_T]:
    """Load what `make` makes of a sampler's keys.

    Iterating raises DataErrors as `make` does, and ResourceError if a process died, failed otherwise or hangs.

    Args:
        make: keys of a batch -> the batch.
        sampler: gives the keys.
        workers: processes that read ahead; 0: this one reads.
        timeout: seconds without a batch after which they hang; None: wait for ever.
        on_drop: told why a picture is not in its batch.
    """
    loader: _Loader[_T] = _Loader(
        _Caught(make),  # type: ignore[arg-type]  # errors are taken out in __iter__
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else making an iterator would draw from the global one
        timeout=(timeout or 0) if workers else 0,
        worker_init_fn=leave_signals,
    )
    loader.on_drop = on_drop
    loader.watch = WorkerWatch(timeout)
    return loader


class _Caught(Dataset[Made[_T] | DataError]):
    """What `make` makes of keys; an error is handed over as a value, to be raised in the main process."""

    def __init__(self, make: Callable[[list[Key]], Made[_T]]) -> None:
        self._make = make

    def __getitem__(self, keys: list[Key]) -> Made[_T] | DataError:
        try:
            made = self._make(keys)
        except DataError as error:
            return error
        if get_worker_info() is not None:
            _share(made.batch)  # here, where a failure is heard: torch would do it in a thread that only prints
        return made


def _share(value: object) -> None:
    """Move all tensors of a value to memory that processes share; RuntimeError if there is too little."""
    if isinstance(value, Tensor):
        if value.numel():
            value.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types there
    elif isinstance(value, tuple):
        for part in value:
            _share(part)
    elif is_dataclass(value):
        _share(tuple(vars(value).values()))


class _Loader(DataLoader[_T]):
    """A DataLoader whose errors arrive as they were raised, not wrapped in a worker's traceback."""

    on_drop: Callable[[DataError], None] | None = None
    watch: WorkerWatch

    def __iter__(self) -> Iterator[_T]:  # type: ignore[override]  # torch names its own iterator class
        error: DataError | None = None
        started = self._iterator is not None
        with contextlib.nullcontext() if started else signals_kept_back(), self.watch:
            batches = super().__iter__()
        while True:
            with self.watch:
                made = next(batches, None)
            if made is None:
                return
            if isinstance(made, DataError):
                error = made
                break
            if self.on_drop is not None:
                for reason in made.dropped:
                    self.on_drop(reason)
            yield made.batch
        # Stop the workers now: held by the error's traceback, each would cost five seconds when collected.
        self._iterator = None
        del batches
        raise error
