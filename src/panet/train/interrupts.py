"""Ctrl-C, SIGTERM and SIGHUP wait until the weights, momentum and averages belong to one step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])


class Interrupts:
    """While entered, SIGINT raises KeyboardInterrupt, SIGTERM SystemExit(143), SIGHUP SystemExit(129).

    In `held()` the first signal waits for its end; a second one does not. Whatever ends the block early leaves `torn`
    true: what it changes may be half changed. A SIGHUP that is ignored stays so: `nohup` starts what shall outlive its
    terminal.

    Args:
        shared: there are several processes, which must stop after the same step. A signal is only noted, in `noted`; it
            raises at the end of `held()` once `agree` says that all know of it, or where `heed` is called.
    """

    def __init__(self, shared: bool = False) -> None:
        self.torn = False
        self.noted: int | None = None
        self._shared = shared
        self._held = False
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # only there may a handler be set
            self._previous = {number: signal.signal(number, self._receive) for number in _heard()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the first signal back until the end."""
        self._held = True
        try:
            yield
        except BrokenPipeError:  # nobody reads what is shown; that comes after all changes
            raise
        except BaseException:
            self.torn = True
            raise
        finally:
            self._held = False
        self.check()

    def check(self) -> None:
        """Raise what was received; also what was raised where Python passes over it, as in a destructor."""
        if self._received is not None:
            _raise(self._received)

    def agree(self, number: int | None) -> None:
        """Let the end of `held()` raise for a signal that one of the processes has noted."""
        if self._shared:
            self._received = number

    def heed(self) -> None:
        """Raise for a signal that has been noted: at a place where one process may leave."""
        if self.noted is not None:
            _raise(self.noted)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._shared:  # torchrun and a cluster may both send one: neither is a second thought
            self.noted = self.noted or number
            return
        first = self._received is None
        self._received = number
        if self._held and first:
            return
        _raise(number)


def _heard() -> list[signal.Signals]:
    ignored = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in _SIGNALS if not (ignored and number == signal.SIGHUP)]


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
