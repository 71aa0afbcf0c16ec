"""Processes that read ahead: how their end, their errors and their silence are told."""

import multiprocessing
import os
import signal
import threading
import time
import weakref
from multiprocessing.process import BaseProcess

import pytest
import torch

from panet.data.loading import Made, build_loader
from panet.data.workers import WorkerWatch
from panet.errors import DataError, ResourceError

BATCH = (torch.ones(3), torch.zeros(0))


class Act:
    """Do something to the process that is asked for the key 3."""

    def __init__(self, act) -> None:
        self.act = act

    def __call__(self, keys):
        if keys == [(0, 3)]:
            self.act()
        return Made(BATCH)


class Order(list):
    """What a sampler is to a loader."""


def load(act, workers: int = 2, timeout: float | None = 60.0):
    return build_loader(Act(act), Order([[(0, i)] for i in range(8)]), workers, timeout)


def fail() -> None:
    raise KeyError("a table is lost")


def refuse() -> None:
    raise DataError("a.png: no such file")


def lack() -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"process \d+, which reads pictures, was ended by SIGKILL; the"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), r"was ended by SIGBUS: /dev/shm is too small"),
        (lambda: os._exit(0), "ended by itself with exit code 0: add --workers 0"),
        (fail, "a process that reads pictures failed: KeyError: 'a table is lost': add --workers 0"),
        (lack, "/dev/shm is too small for the batches that processes hand over: add --workers 0"),
    ],
)
def test_what_ends_a_process_that_reads_is_told(act, told: str) -> None:
    with pytest.raises(ResourceError, match=told):
        list(load(act))


def test_a_process_that_hangs_is_ended() -> None:
    with pytest.raises(ResourceError, match=r"no batch came in 1 s: .* hangs, .* raise data.worker_timeout"):
        list(load(lambda: time.sleep(3600), timeout=1.0))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_arrives_as_it_is(workers: int) -> None:
    with pytest.raises(DataError, match=r"^a.png: no such file$"):
        list(load(refuse, workers))


def test_in_this_process_nothing_hangs_and_nothing_is_translated() -> None:
    with pytest.raises(KeyError, match="a table is lost"):
        list(load(fail, workers=0))


def test_a_death_between_two_batches_interrupts_nothing_and_is_told_at_the_next() -> None:
    batches = iter(load(lambda: os.kill(os.getpid(), signal.SIGKILL), workers=1))
    handler = signal.getsignal(signal.SIGCHLD)
    next(batches)
    time.sleep(0.5)  # the process has read ahead, and is dead
    assert signal.getsignal(signal.SIGCHLD) is handler
    with pytest.raises(ResourceError, match="SIGKILL"):
        list(batches)


def test_a_signal_that_comes_while_processes_start_waits_until_all_have(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, started = os.fork, []

    def interrupted() -> int:
        if not started:
            os.kill(os.getpid(), signal.SIGINT)
        child = fork()
        started.append(child)
        return child

    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(load(lambda: None, workers=2))
    assert len(started) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pipe_that_breaks_just_before_its_process_is_dead_is_told_as_that_death() -> None:
    watch = WorkerWatch(1.0)
    with watch:
        process = multiprocessing.get_context("fork").Process(
            target=lambda: (time.sleep(0.3), os._exit(3)), daemon=True
        )
        process.start()
    with pytest.raises(ResourceError, match="ended by itself with exit code 3"), watch:
        raise ConnectionResetError


class Slow:
    """Takes its time to go, in a wait of its own."""

    def __del__(self) -> None:
        threading.Event().wait(0.6)


def wait_after_a_finalizer() -> None:
    Slow()
    threading.Event().wait(60)


def wait_after_a_callback() -> None:
    slow = Slow()
    weakref.finalize(slow, threading.Event().wait, 0.6)
    del slow
    threading.Event().wait(60)


def wait_after_work() -> None:
    try:
        time.sleep(0.6)  # stands for any code that does not wait for a batch
    except ResourceError:
        pytest.fail("it was torn")
    threading.Event().wait(60)


@pytest.mark.parametrize("wait", [wait_after_a_finalizer, wait_after_a_callback, wait_after_work])
def test_a_death_interrupts_a_wait_alone_and_is_never_lost(wait) -> None:
    watch = WorkerWatch(60.0)
    with watch:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.3,), daemon=True)
        process.start()
    with pytest.raises(ResourceError, match="ended by itself with exit code 0"), watch:
        wait()


@pytest.mark.parametrize("act", [fail, lack])
def test_after_an_error_no_process_is_waited_for(act) -> None:
    loader = load(act, workers=2)
    with pytest.raises(ResourceError):
        list(loader)
    assert all(not _wait_for_end(worker) for worker in loader.watch._workers)


def _wait_for_end(process: BaseProcess) -> bool:
    """Whether it is still alive after a second."""
    process.join(1.0)
    return process.is_alive()


def test_a_loader_can_be_read_twice() -> None:
    loader = load(lambda: None)
    assert len(list(loader)) == len(list(loader)) == 8
