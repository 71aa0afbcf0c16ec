"""Injects a fault into a real run of `panet train`, and looks at what is left.

A fault is a function (seed, folder) -> what was seen, in a line. It raises `NotLandedError` if the fault did not happen
(that is a failure too: nothing was shown), and AssertionError if what must hold does not. To add one:

1. Write the function in a file of this folder that fits, or in a new one, and list it there in `FAULTS`.
2. List a new file's `FAULTS` in `__main__.py`.
3. What must break inside the process goes into a function of `patches.py` (or of a file beside it): `child.py` calls it
   in the child before the command runs. Hand it over as `patches=[partial(kill_in_step, step=5)]`; its keywords must be
   JSON.

Every child has a session of its own, a wall limit and a mark in its environment; when it has ended, nothing that
carries the mark may be left: loader workers and their children carry it as well. Seconds are those in which this
process was awake, so that a machine that halts everything for a minute spoils no limit.

    def kill_it(seed: int, folder: Path) -> str:
        ended = run(training(seed, folder), folder, patches=[partial(kill_in_step, step=5)])
        landed(ended.code == -9, ended)
        ended = run(resuming(folder), folder)
        ended.expect(0)
        return same_as_whole(seed, folder)
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from battery.training import TINY
from faults.patches import signal_in_step
from panet.data.synthetic import write_shapes

__all__ = [
    "NUM_STEPS",
    "STEPS_PER_CHECK",
    "Child",
    "Ended",
    "Fault",
    "NotLandedError",
    "Patch",
    "checkpoints",
    "command",
    "hash_weights",
    "killed_run",
    "landed",
    "metrics",
    "resuming",
    "run",
    "run_folder",
    "same_as_whole",
    "shapes",
    "soon",
    "start",
    "training",
    "whole_run",
]

ROOT = Path(__file__).resolve().parents[2]
NUM_STEPS = 12
STEPS_PER_CHECK = 3
SECONDS = 120.0
"""That any child may take."""
_MARK = "FAULT_MARK"
_SETTINGS = [*TINY, "train.ema_decay=0.9", "train.evaluate_every=0.25", "data.colour_jitter=0.2"]  # of 12 steps
_LOCKS = {name: threading.Lock() for name in ("shapes", "whole", "killed")}
_NUMBERS = itertools.count()

Patch = partial  # a function of this folder, with JSON keywords: it is called in the child before the command


class NotLandedError(AssertionError):
    """The fault did not happen, so that nothing was shown."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Args:
        id: of the battery, such as K05; several variants may share one.
        sentence: what happens.
        inject: (seed, empty folder) -> what was seen.
    """

    id: str
    sentence: str
    inject: Callable[[int, Path], str]


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        code: exit code; -9 if SIGKILL ended it.
        out, err: what it wrote.
        seconds: it took.
        processor: s that the process computed, its children apart.
    """

    code: int
    out: str
    err: str
    seconds: float
    processor: float

    @property
    def error(self) -> str:
        """The one line that begins with "error: "."""
        lines = [line.strip("\0 ") for line in self.err.splitlines()]  # torch ends its own with a NUL
        lines = [line for line in lines if line.startswith("error: ")]
        assert len(lines) == 1, f"{len(lines)} error lines: {self.err[-2000:]}"
        return lines[0].removeprefix("error: ")

    def expect(self, code: int) -> None:
        """See that it ended so, and without a traceback."""
        assert self.code == code, f"exit {self.code}, not {code}: {self.out[-500:]} {self.err[-2000:]}"
        assert "Traceback" not in self.out + self.err, self.err[-3000:]
        assert "an error of panet itself" not in self.err, self.err


def landed(happened: bool, why: object) -> None:
    """Raise NotLandedError unless it happened."""
    if not happened:
        raise NotLandedError(f"did not land: {why}"[:2000])


def soon(seconds: float, wall: float, processor: float) -> bool:
    """Tell whether it took at most so long; on a machine where many share a processor, as it would have alone.

    Args:
        seconds: the limit.
        wall: s that it took.
        processor: s that it computed.
    """
    sharers = 2 + 2 * os.getloadavg()[0]  # of a processor; the average lags behind
    return wall < max(seconds, sharers * processor) and processor < seconds


def command(arguments: Sequence[str], patches: Sequence[Patch] = ()) -> list[str]:
    """Give the words that run `panet` with these arguments, after these patches."""
    specs = []
    for patch in patches:
        specs += [f"{patch.func.__module__}:{patch.func.__name__}", json.dumps(patch.keywords)]
    return [sys.executable, "-m", "faults.child", *specs, "--", *arguments]


class Child:
    """A process that was started, and all that it starts."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str | None] | None = None) -> None:
        number = next(_NUMBERS)
        self.mark = f"{os.getpid()}-{number}"
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        python_path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path, "TMPDIR": str(folder)}
        given |= {"PYTHONUNBUFFERED": "1", "COLUMNS": "500", _MARK: self.mark, **(environment or {})}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env={key: value for key, value in given.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.seconds = 0.0
        self.processor = 0.0

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    def until(self, condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
        """Wait until it holds; give whether it does: not if the child ends before, or the time is up."""
        start, last = self.seconds, time.monotonic()
        while not condition():
            if self.process.poll() is not None or self.seconds - start > seconds:
                return condition()
            time.sleep(0.01)
            now = time.monotonic()
            self.seconds += min(now - last, 0.1)  # more: this process did not run either
            self._read_processor()
            last = now
        return True

    def _read_processor(self) -> None:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = sum(map(int, fields[11:13]))
            self.processor = max(self.processor, ticks / os.sysconf("SC_CLK_TCK"))  # nothing is told of the dead

    def wait(self, seconds: float = SECONDS, left_after: float = 10.0) -> Ended:
        """Wait for its end, and `left_after` s more for that of all it started; AssertionError if it takes longer."""
        ended = self.until(lambda: self.process.poll() is not None, seconds)
        assert ended, f"still running after {seconds} s: {self.out[-500:]} {self.err[-1500:]}"
        took = self.seconds
        deadline = time.monotonic() + left_after
        while (left := self.members()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, f"left behind: {left}"
        return Ended(self.process.returncode, self.out, self.err, took, self.processor)

    def members(self) -> list[int]:
        """List the processes that carry its mark, zombies apart."""
        marked, wanted = [], f"{_MARK}={self.mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        marked.append(int(entry.name))
        return marked

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    def clean(self) -> None:
        """End whatever is left."""
        self.signal(signal.SIGKILL, group=True)
        for member in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def start(
    arguments: Sequence[str],
    folder: Path,
    patches: Sequence[Patch] = (),
    environment: Mapping[str, str | None] | None = None,
    around: Callable[[list[str]], list[str]] = list,
) -> Iterator[Child]:
    """Start `panet` with these arguments in `folder`; nothing of it is left at the end of the block.

    Args:
        around: (words of the command) -> words to start instead, such as ["torchrun", ...] or ["unshare", ...].
        environment: variables to set; None: to unset.
    """
    child = Child(around(command(arguments, patches)), folder, environment)
    try:
        yield child
    finally:
        child.clean()


def run(arguments: Sequence[str], folder: Path, seconds: float = SECONDS, **how: Any) -> Ended:
    """Start it, as `start` does, and wait for its end."""
    with start(arguments, folder, **how) as child:
        return child.wait(seconds)


def shapes(seed: int, folder: Path) -> Path:
    """Give the data set of a seed, 24 pictures of 64 px; made once beside the faults' folders. Read only."""
    place = folder.parent / f"data-{seed}"
    with _LOCKS["shapes"]:
        if not place.exists():
            write_shapes(place, num_train=24, num_val=3, size=64, seed=seed)
    return place


def training(seed: int, folder: Path, *more: str, name: str = "run", shapes_in: Path | None = None) -> list[str]:
    """Give the arguments of a run of 12 steps with a check every 3, in `folder/runs/<name>`."""
    source = shapes_in or shapes(seed, folder)
    words = ["train", str(source), "--name", name, "--output-root", str(folder / "runs"), "--seed", str(seed)]
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    return [*words, "--steps", str(NUM_STEPS), "--workers", "0", "--no-preflight", *settings, *more]


def resuming(folder: Path, *more: str, name: str = "run") -> list[str]:
    """Give the arguments that go on with it."""
    return ["train", str(run_folder(folder, name)), "--resume", *more]


def run_folder(folder: Path, name: str = "run") -> Path:
    return folder / "runs" / name


def checkpoints(folder: Path, name: str = "run") -> list[Path]:
    """List the checkpoints of a run, newest first."""
    return sorted(run_folder(folder, name).glob("checkpoint/step-*.safetensors"), reverse=True)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def hash_weights(path: Path) -> str:
    """Give the sha256 over the sorted tensors of a model file: names, types, shapes, bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape} ".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def whole_run(seed: int, folder: Path) -> Path:
    """Give the run that nothing disturbed, of a seed; made once beside the faults' folders."""
    return run_folder(_once(seed, folder, "whole", (), 0))


def killed_run(seed: int, folder: Path) -> None:
    """Put a run into `folder` that was killed in step 8: it has checkpoints of steps 3 and 6."""
    kill = partial(signal_in_step, step=8)
    shutil.copytree(_once(seed, folder, "killed", (kill,), -signal.SIGKILL), folder, dirs_exist_ok=True)


def _once(seed: int, folder: Path, name: str, patches: Sequence[Patch], code: int) -> Path:
    """Make a run beside the faults' folders, if none of them has done so before."""
    place, source = folder.parent / f"{name}-{seed}", shapes(seed, folder)
    with _LOCKS[name]:
        if not place.exists():
            building = folder.parent / f"building-{name}-{seed}"
            building.mkdir()
            ended = run(training(seed, building, shapes_in=source), building, patches=patches)
            assert ended.code == code, ended
            building.rename(place)
    return place


def same_as_whole(seed: int, folder: Path, name: str = "run") -> str:
    """See that a run ended with the weights and the metrics file of the one that nothing disturbed."""
    whole, other = whole_run(seed, folder), run_folder(folder, name)
    for file in ("last", "best"):
        ours, theirs = (hash_weights(place / "weights" / f"{file}.safetensors") for place in (other, whole))
        assert ours == theirs, f"{file} weights differ from the uninterrupted run's"
    ours, theirs = ((place / "metrics.jsonl").read_bytes() for place in (other, whole))
    assert ours == theirs, "metrics.jsonl differs from the uninterrupted run's"
    return f"weights {hash_weights(other / 'weights' / 'last.safetensors')[:8]} and metrics as uninterrupted"
