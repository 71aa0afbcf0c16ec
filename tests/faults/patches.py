"""What breaks inside a process: each function changes something of panet in the process that calls it."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import get_worker_info

import panet.cli.judging
import panet.cli.preflight
from panet.data.dataset import SampleDataset
from panet.objective.objective import Objective
from panet.train.learner import Learner
from panet.train.run import Run


def in_step(step: int, act: Callable[[], object]) -> None:
    """Act in the middle of a step: gradients are there, weights have not changed."""
    update = Learner.update

    def broken(self: Learner, current: int) -> tuple[float, float]:
        if current == step:
            act()
        return update(self, current)

    Learner.update = broken  # type: ignore[method-assign]


def after_step(step: int, act: Callable[[], object]) -> None:
    """Act when a step is done and logged."""
    record = Run.record

    def broken(self: Run, line: Any) -> None:
        record(self, line)
        if line.step == step:
            act()

    Run.record = broken  # type: ignore[method-assign]


def signal_self(number: int) -> None:
    os.kill(os.getpid(), number)


def signal_in_step(step: int, number: int = signal.SIGKILL) -> None:
    """Send this process a signal in a step."""
    in_step(step, lambda: signal_self(number))


def signal_in_evaluation(call: int, number: int) -> None:
    """Send this process a signal when the evaluation begins for the nth time."""
    predict_all = panet.cli.judging.predict_all
    calls = iter(range(1, 1000))

    def broken(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == call:
            signal_self(number)
        return predict_all(*arguments, **keywords)

    panet.cli.judging.predict_all = broken  # type: ignore[attr-defined]  # a fault replaces it


def signal_in_save(step: int, point: str, number: int = signal.SIGKILL) -> None:
    """Send this process a signal while the checkpoint of a step is written.

    Args:
        step: of the checkpoint.
        point: "before" the part file, "half" way in it, when it is on the disk ("synced"), when it has its name
            ("renamed"), when SHA256SUMS points to it and an older one is about to go ("pointed").
        number: the signal.
    """
    name = f"step-{step:08d}.safetensors"
    open_path, replace, unlink = Path.open, os.replace, Path.unlink
    pointed, halved = [], []

    def opened(self: Path, *arguments: Any, **keywords: Any) -> Any:
        file = open_path(self, *arguments, **keywords)
        if name in self.name and self.name.endswith(".part"):
            if point == "before":
                signal_self(number)
            if point == "half" and not halved:  # what is saved after a signal is saved
                halved.append(self)
                return _Half(file, number)
        return file

    def replaced(source: Path, target: Path) -> None:
        if Path(target).name == name and point == "synced":
            signal_self(number)
        replace(source, target)
        if Path(target).name == name and point == "renamed":
            signal_self(number)
        if Path(target).name == "SHA256SUMS" and name in Path(target).read_text():
            pointed.append(target)

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        if pointed and point == "pointed" and self.name.startswith("step-"):
            signal_self(number)
        unlink(self, missing_ok)

    Path.open, os.replace, Path.unlink = opened, replaced, unlinked  # type: ignore[assignment,method-assign]


class _Half:
    """A file of which only the first half is written before a signal."""

    def __init__(self, file: Any, number: int) -> None:
        self._file, self._number = file, number

    def __enter__(self) -> "_Half":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        signal_self(self._number)
        self._file.write(content[len(content) // 2 :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def long_step(step: int, marker: str) -> None:
    """Make a step take a minute; leave a marker when it begins."""
    in_step(step, lambda: _dawdle(marker))


def long_save(step: int, marker: str) -> None:
    """Make writing a step's checkpoint take a minute, once."""
    fsync = os.fsync
    done = []

    def slow(file: int) -> None:
        target = os.readlink(f"/proc/self/fd/{file}")
        if f"step-{step:08d}" in target and not done:
            done.append(target)
            _dawdle(marker)
        fsync(file)

    os.fsync = slow


def long_evaluation(marker: str) -> None:
    """Make the first evaluation take a minute."""
    predict_all = panet.cli.judging.predict_all

    def slow(*arguments: Any, **keywords: Any) -> Any:
        if not Path(marker).exists():
            _dawdle(marker)
        return predict_all(*arguments, **keywords)

    panet.cli.judging.predict_all = slow  # type: ignore[attr-defined]  # a fault replaces it


def long_rehearsal(marker: str) -> None:
    """Make the first batch of the pre-flight take a minute."""
    rehearse = panet.cli.preflight.rehearse

    def slow(*arguments: Any, **keywords: Any) -> Any:
        _dawdle(marker)
        return rehearse(*arguments, **keywords)

    panet.cli.preflight.rehearse = slow  # type: ignore[attr-defined]  # a fault replaces it


def _dawdle(marker: str) -> None:
    Path(marker).touch()
    for _ in range(600):
        time.sleep(0.1)


def slow_steps(seconds: float) -> None:
    """Make every step longer, so that there is time to do something to it."""
    update = Learner.update

    def slow(self: Learner, current: int) -> tuple[float, float]:
        time.sleep(seconds)
        return update(self, current)

    Learner.update = slow  # type: ignore[method-assign]


def end_worker(how: str, sample: int, marker: str) -> None:
    """Let the first loader process end, fail or hang when it is asked for its nth sample.

    Args:
        how: "kill", "segv", "exit", "raise", "hang".
        sample: which.
        marker: a file that is made then.
    """
    make = SampleDataset.__getitem__
    calls = iter(range(1, 10_000))

    def broken(self: SampleDataset, key: tuple[int, int]) -> Any:
        worker = get_worker_info()
        if worker is not None and worker.id == 0 and next(calls) == sample and not Path(marker).exists():
            Path(marker).touch()
            if how == "raise":
                raise KeyError("a codec lost its table")
            if how == "exit":
                os._exit(0)
            if how == "hang":
                time.sleep(3600)
            signal_self(signal.SIGKILL if how == "kill" else signal.SIGSEGV)
        return make(self, key)

    SampleDataset.__getitem__ = broken  # type: ignore[method-assign]


def spoil_picture(step: int, path: str, remove: bool) -> None:
    """Overwrite a picture with garbage, or remove it, when a step is done."""

    def spoil() -> None:
        Path(path).unlink()
        if not remove:
            Path(path).write_bytes(b"rotten" * 50)

    after_step(step, spoil)


def fill_disk(step: int, until: int, path: str, leave: int) -> None:
    """Fill the disk that `path` is on after a step, `leave` bytes apart; free it after another step."""

    def fill() -> None:
        with open(path, "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                ballast.truncate(max(ballast.tell() - leave, 0))

    after_step(step, fill)
    after_step(until, lambda: os.unlink(path))


def limit_files(step: int, until: int, size: int) -> None:
    """Let no file be larger after a step, until another."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    after_step(step, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard)))
    after_step(until, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))


def limit_memory(more: int) -> None:
    """Let this process map only so many bytes more than it has when the first forward pass begins."""
    forward = Objective.forward

    def limited(self: Objective, *arguments: Any) -> Any:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft = pages * os.sysconf("SC_PAGE_SIZE") + more
        resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))
        return forward(self, *arguments)

    Objective.forward = limited  # type: ignore[method-assign]


def hoard(step: int) -> None:
    """Take all memory after a step."""
    hoarded = []

    def take() -> None:
        while True:
            hoarded.append(bytearray(os.urandom(1 << 20)) * 16)

    after_step(step, take)


def remove_folder(step: int, path: str) -> None:
    """Remove a folder after a step."""
    after_step(step, lambda: shutil.rmtree(path))


def remove_lock(step: int, path: str) -> None:
    """Remove a run's lock file after a step."""
    after_step(step, lambda: os.unlink(path))


def set_umask(mask: int) -> None:
    os.umask(mask)


def move_clock(step: int, seconds: float) -> None:
    """Set the clock (not the monotonic one) back or forward after a step."""
    clock = time.time

    def move() -> None:
        time.time = lambda: clock() + seconds

    after_step(step, move)
