"""When a loader's process dies, fails or hangs: told at once, in a line that names the cause."""

import multiprocessing
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any

from panet.errors import ResourceError

__all__ = ["WorkerWatch"]

_LESS = "add --workers 0 to read in one process"
_SHARED = f"/dev/shm is too small for the batches that processes hand over: {_LESS}, or make it larger"
_SECONDS_FOR_OWN_SIGNAL = 0.2
_CHILD_ENDED = getattr(signal, "SIGCHLD", None)  # not on Windows


class WorkerWatch:
    """Enter it while waiting for a loader: what is wrong with one of its processes then becomes a ResourceError.

    Outside of it nothing is interrupted, so that a death never tears what the main process is doing; it is told at the
    next wait. torch's own watch does interrupt, and is put out of use.

    Args:
        timeout: seconds that the loader waits for a batch, for the message.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._workers: list[BaseProcess] = []
        self._others: list[BaseProcess] = []
        self._previous: Any = None

    def __enter__(self) -> None:
        self._others = multiprocessing.active_children()
        if _CHILD_ENDED is not None and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(_CHILD_ENDED, self._receive)
        self._check()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._previous is not None:
            signal.signal(_CHILD_ENDED, self._previous)  # type: ignore[arg-type]  # it was set with that
            self._previous = None
        known = [*self._others, *self._workers]
        self._workers += [child for child in multiprocessing.active_children() if child not in known]
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            self._explain(error)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._check()
        if callable(self._previous):
            self._previous(number, frame)

    def _check(self) -> None:
        if self._dead():
            time.sleep(_SECONDS_FOR_OWN_SIGNAL)  # what ended it may be on its way to this process too, and goes first
            raise ResourceError("a process that reads pictures ended")

    def _dead(self) -> list[BaseProcess]:
        return [worker for worker in self._workers if worker.exitcode is not None]

    def _explain(self, error: Exception) -> None:
        text = str(error)
        if "shared memory" in text:
            raise ResourceError(_SHARED) from error
        if " in DataLoader worker process" in text:
            *_, cause = (line for line in text.splitlines() if line.strip())
            raise ResourceError(
                f"a process that reads pictures failed: {cause}: {_LESS}, and --debug to see where"
            ) from (error)
        for worker in self._dead():
            raise ResourceError(f"process {worker.pid}, which reads pictures, {_tell_end(worker.exitcode or 0)}") from (
                error
            )
        if "DataLoader timed out" in text:
            for worker in self._workers:
                worker.kill()  # it may hear nothing else
            raise ResourceError(
                f"no batch came in {self._timeout:g} s: a process that reads pictures hangs, or storage is slower than "
                f"that: {_LESS}, or raise data.worker_timeout"
            ) from error


def _tell_end(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended by itself with exit code {exit_code}: {_LESS}"
    name = signal.Signals(-exit_code).name
    if name == "SIGBUS":
        return f"was ended by {name}: {_SHARED}"
    why = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"was ended by {name}{why}: {_LESS}"
