"""Several processes that run one command together, as torchrun starts them: what they tell each other.

Rank r of W does every W-th share of the work, beginning with r. What fails on one rank ends all: the first that failed
says why, the others end without a word.
"""

import contextlib
import json
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from panet.errors import ConfigError, PANetError, PeerError, RankError

__all__ = ["ALONE", "Ranks", "gradients_shared", "joined"]

_T = TypeVar("_T")

_LIMIT = timedelta(minutes=10)  # that a rank waits for others; one may read, score or save for so long
_SIGNS_OF_LOSS = ("Connection closed by peer", "Connection reset", "Connection refused", "gloo", "Timed out waiting")
# Strides of sides of one element mean nothing, but torch compares them: of 1 x 1 kernels and of their gradients.
_STRIDES = r"(?s)Grad strides do not match bucket view strides.*grad\.sizes\(\) = \[\d+, \d+, 1, 1\]"


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of the run. Of one process, nothing waits and nothing is sent.

    Args:
        rank: 0 .. size - 1; the first writes files and speaks.
        size: how many there are.
        local_rank: the place among those of this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def place(self, device: torch.device) -> torch.device:
        """Give this rank's own device of a kind.

        Raises:
            ConfigError: a number was given with it, or this machine has fewer GPUs than processes.
        """
        if self.size == 1 or device.type != "cuda":
            return device
        if device.index is not None:
            raise ConfigError(f"train.device: {device}: each process has a GPU of its own: use cuda")
        if self.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"process {self.local_rank + 1} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                "give torchrun --nproc_per_node of that, or train on --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """Let the backward pass average gradients over ranks; every rank starts from the first's weights."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(objective, forward_sync_buffers=False, gradient_as_bucket_view=True)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do a part that all ranks do; what a user can cause on one, or an interrupt, ends it on all.

        Raises:
            PANetError, KeyboardInterrupt, SystemExit: of the first rank that failed; PeerError on the others.
        """
        failure: PANetError | KeyboardInterrupt | SystemExit | None = None
        try:
            yield
        except (PANetError, KeyboardInterrupt, SystemExit) as error:
            if self.size == 1:
                raise
            failure = error
        if self.size > 1:
            self._settle(failure)

    def share(self, make: Callable[[], _T]) -> _T:
        """Give every rank what the first one makes: something that JSON can hold."""
        made: list[Any] = [None]
        with self.together():
            if self.is_first:
                made = [make()]
        if self.size == 1:
            return made[0]  # type: ignore[no-any-return]
        content = json.dumps(made[0]).encode() if self.is_first else b""
        (length,) = _broadcast(torch.tensor([len(content)])).tolist()
        sent = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else _bytes(length)
        return json.loads(_broadcast(sent).numpy().tobytes())  # type: ignore[no-any-return]

    def share_tensors(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give every rank the first one's named tensors, on the CPU."""
        kinds = self.share(lambda: {name: (list(t.shape), str(t.dtype)) for name, t in named.items()})
        if self.size == 1:
            return dict(named)
        shared: dict[str, Tensor] = {}
        for name, (shape, dtype) in kinds.items():
            empty = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
            shared[name] = _broadcast(named[name].cpu().contiguous() if self.is_first else empty)
        return shared

    def collect(self, items: Sequence[_T]) -> list[_T]:
        """Give the first rank the items of all, in the order in which they were dealt; the others get none.

        Args:
            items: of this rank, those with the numbers rank, rank + size, ...; what JSON can hold.
        """
        if self.size == 1:
            return list(items)
        content = torch.frombuffer(bytearray(json.dumps(list(items)).encode()), dtype=torch.uint8)
        lengths = self._gather(len(content))
        padded = _bytes(max(lengths))
        padded[: len(content)] = content
        parts = [torch.empty_like(padded) for _ in lengths] if self.is_first else None
        distributed.gather(padded, parts)
        if parts is None:
            return []
        shards = [json.loads(part[:n].numpy().tobytes()) for part, n in zip(parts, lengths, strict=True)]
        return [shards[i % self.size][i // self.size] for i in range(sum(map(len, shards)))]

    def agree(
        self, losses: Mapping[str, float], problem: PANetError | None, received: int | None
    ) -> tuple[dict[str, float], int | None]:
        """Meet once a step, before the last gradients: one small sum over the ranks.

        Args:
            losses: of this rank, the same names on all.
            problem: what forbids the step here.
            received: a signal that asks this rank to stop after the step.
        Returns: the means of the losses, and the signal after which all stop.

        Raises:
            PANetError: the problem; a PeerError where another rank has one.
        """
        if self.size > 1:
            sums = torch.tensor([*losses.values(), float(problem is not None), float(received or 0)]).double()
            distributed.all_reduce(sums)
            if sums[-2]:
                self._settle(problem)
            losses = dict(zip(losses, (sums[:-2] / self.size).tolist(), strict=True))
            received = max(self._gather(received or 0)) if sums[-1] else None
        if problem is not None:
            raise problem
        return dict(losses), received

    def average_statistics(self, model: nn.Module) -> None:
        """Average what batch norms that see their own rank only have learnt of means and variances."""
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
        apart = [norm for norm in norms if not isinstance(norm, nn.SyncBatchNorm)]
        moving = [t for norm in apart for t in (norm.running_mean, norm.running_var) if t is not None]
        if self.size == 1 or not moving:
            return
        flat = torch.cat(moving)
        distributed.all_reduce(flat)
        with torch.no_grad():
            for own, mean in zip(moving, torch.split(flat / self.size, [len(t) for t in moving]), strict=True):
                own.copy_(mean)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            self._gather(0)

    def _settle(self, failure: BaseException | None) -> None:
        """Raise on all ranks if one has failed: its own error where that was first."""
        codes = self._gather(_exit_code(failure))
        failed = [rank for rank, code in enumerate(codes) if code]
        if not failed:
            return
        if failure is not None and failed[0] == self.rank:
            raise failure
        code = codes[failed[0]]
        if code == 128 + signal.SIGINT:
            raise KeyboardInterrupt
        if code > 128:
            raise SystemExit(code)
        raise PeerError("", code) from failure

    def _gather(self, number: int) -> list[int]:
        """Give every rank the numbers of all."""
        numbers = torch.zeros(self.size, dtype=torch.int64)
        numbers[self.rank] = number
        distributed.all_reduce(numbers)
        return [int(each) for each in numbers]


ALONE = Ranks()
"""One process."""


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started; of a process started alone, give ALONE. They leave together too.

    Raises:
        RankError: the port is taken, or not all processes came.
        PeerError: another one is lost.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if size == 1:
        yield ALONE
        return
    ranks = Ranks(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    with _loss_explained(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _STRIDES)
        _open_group()
        try:
            yield ranks
        except (KeyboardInterrupt, SystemExit):
            ranks.wait()
            raise
        ranks.wait()
        distributed.destroy_process_group()


def gradients_shared(objective: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Run a forward and a backward pass in it; only those of a step's last batch exchange gradients."""
    if isinstance(objective, DistributedDataParallel) and not wanted:
        return objective.no_sync()
    return contextlib.nullcontext()


def _open_group() -> None:
    # Tensors on a GPU go by NCCL; what is counted, told and agreed on goes by gloo.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=_LIMIT)
    except (distributed.DistNetworkError, distributed.DistStoreError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "EADDRINUSE" in str(error):
            raise RankError(f"{address}: the port is taken: give torchrun another --master_port") from error
        raise RankError(f"{address}: the processes do not meet there: {_first_line(error)}") from error


@contextmanager
def _loss_explained() -> Iterator[None]:
    """Tell the loss of another rank from errors of this one."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            text = f"lost another process ({_first_line(error)}); what ended it stands where that one writes"
            raise PeerError(text, RankError.exit_code) from error
        raise


def _exit_code(failure: BaseException | None) -> int:
    if failure is None:
        return 0
    if isinstance(failure, PANetError):
        return failure.exit_code
    return int(failure.code or 1) if isinstance(failure, SystemExit) else 128 + signal.SIGINT


def _broadcast(tensor: Tensor) -> Tensor:
    distributed.broadcast(tensor, src=0)
    return tensor


def _bytes(length: int) -> Tensor:
    return torch.zeros(length, dtype=torch.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
