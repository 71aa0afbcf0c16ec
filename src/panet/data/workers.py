"""When a loader's process dies, fails or hangs: told at once, in a line that names the cause."""

import _thread
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any

from panet.errors import ResourceError

__all__ = ["WorkerWatch", "leave_signals", "signals_kept_back"]

_LESS = "add --workers 0 to read in one process"
_SHARED = f"/dev/shm is too small for the batches that processes hand over: {_LESS}, or make it larger"
_SECONDS_FOR_OWN_SIGNAL = 0.2
_SECONDS_TO_ASK_AGAIN = 0.05
_WAITING = ("selectors", "multiprocessing.connection", "multiprocessing.queues", "threading")
_CHILD_ENDED = getattr(signal, "SIGCHLD", None)  # not on Windows


@contextmanager
def signals_kept_back() -> Iterator[None]:
    """Keep what ends a run back while processes are started: what a handler raises in a fork, Python only prints."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _ending()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for each in received:
        signal.raise_signal(each)


def leave_signals(_worker: int) -> None:
    """Leave Ctrl-C and a lost terminal, which all processes are told of, to the main one: it ends the others.

    So too a SIGTERM to the main process and all it started, as torchrun sends it: a step still needs its batches.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    sys.excepthook = _tell_but_for_a_lost_reader
    for number in _ending():
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)


def _tell_but_for_a_lost_reader(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """Print what was not caught, but not that the main process hung up: the thread that hands over batches does so."""
    if not isinstance(error, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, at)


def _ending() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not on Windows
    return [signal.Signals[name] for name in names if hasattr(signal, name)]


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
        if self._dead():  # asked when a death from now on is heard of
            self._hear_no_more()
            time.sleep(_SECONDS_FOR_OWN_SIGNAL)
            self._explain(ResourceError("a process that reads pictures ended"))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._hear_no_more()
        known = [*self._others, *self._workers]
        self._workers += [child for child in multiprocessing.active_children() if child not in known]
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            self._explain(error)

    def _hear_no_more(self) -> None:
        if self._previous is not None:
            signal.signal(_CHILD_ENDED, self._previous)  # type: ignore[arg-type]  # it was set with that
            self._previous = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._dead():
            if not _waits(frame):
                _thread.start_new_thread(_signal_again, (number,))  # threading's own locks may be held here
                return
            time.sleep(_SECONDS_FOR_OWN_SIGNAL)  # what ended it may be on its way to this process too, and goes first
            raise ResourceError("a process that reads pictures ended")
        if callable(self._previous):
            self._previous(number, frame)

    def _dead(self) -> list[BaseProcess]:
        return [worker for worker in self._workers if worker.exitcode is not None]

    def _explain(self, error: Exception) -> None:
        why = self._tell_cause(error)
        if why is not None:
            for worker in self._workers:
                worker.kill()  # else each is waited for, for seconds, when its loader is collected
            raise ResourceError(why) from error

    def _tell_cause(self, error: Exception) -> str | None:
        text = str(error)
        if "shared memory" in text:
            return _SHARED
        if " in DataLoader worker process" in text:
            *_, cause = (line for line in text.splitlines() if line.strip())
            return f"a process that reads pictures failed: {cause}: {_LESS}, and --debug to see where"
        if isinstance(error, ConnectionError | EOFError):  # the other end of a pipe is gone; the process is about to be
            _wait_until(lambda: bool(self._dead()))
        for worker in self._dead():
            return f"process {worker.pid}, which reads pictures, {_tell_end(worker.exitcode or 0)}"
        if "DataLoader timed out" in text:
            return (
                f"no batch came in {self._timeout:g} s: a process that reads pictures hangs, or storage is slower than "
                f"that: {_LESS}, or raise data.worker_timeout"
            )
        return None


def _waits(frame: FrameType | None) -> bool:
    """Whether it is where a batch is waited for, and no finalizer or callback, of which Python only prints errors."""
    if frame is None or frame.f_globals.get("__name__") not in _WAITING:
        return False
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__") in ("weakref", "multiprocessing.util"):
            return False
        frame = frame.f_back
    return True


def _signal_again(number: int) -> None:
    time.sleep(_SECONDS_TO_ASK_AGAIN)
    os.kill(os.getpid(), number)


def _wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, for a second at most."""
    end = time.monotonic() + 1
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def _tell_end(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended by itself with exit code {exit_code}: {_LESS}"
    name = signal.Signals(-exit_code).name
    if name == "SIGBUS":
        return f"was ended by {name}: {_SHARED}"
    why = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"was ended by {name}{why}: {_LESS}"
