"""A candidate in a process of its own: its memory is its own, and so is what its allocator is told."""

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import torch

from panet.bench.measure import CLOCKS
from panet.errors import PANetError

__all__ = ["Candidate", "Found", "Process"]


class Found(NamedTuple):
    """Detections of a picture: labels, scores, and boxes xyxy in px."""

    labels: list[int]
    scores: list[float]
    boxes: list[list[float]]


class Candidate(Protocol):
    """What takes its turn; made in its process."""

    def run(self) -> object:
        """Do what is timed."""

    def stages(self, clock: Callable[[], float]) -> Mapping[str, float]:
        """Do it once more, and give the seconds of each stage; nothing where there are none."""

    def found(self) -> Found | None:
        """Do it once more, and give what it found; None where that is not to be compared."""


class Process:
    """Makes a candidate in a new process and calls it there.

    Args:
        make: arguments -> candidate; a function of a module, with arguments that can be sent.
        arguments: its.
        before: called first of all there, such as what sets the allocator; None: nothing.
        threads: of torch.
        clock: its name in `measure.CLOCKS`.

    Raises:
        PANetError: that of `make`, here and in every call.
    """

    def __init__(
        self,
        make: Callable[..., Candidate],
        *arguments: object,
        before: Callable[[], object] | None,
        threads: int,
        clock: str,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments, before, threads, clock), daemon=True
        )
        self._process.start()
        theirs.close()
        self._receive()

    def __call__(self) -> float:
        """Run the candidate once; give the seconds that took, on its own clock."""
        return float(self._ask("run"))

    def stages(self) -> dict[str, float]:
        """Give the candidate's stages with their seconds."""
        return dict(self._ask("stages"))

    def found(self) -> Found | None:
        """Give what the candidate found."""
        found: Found | None = self._ask("found")
        return found

    def peak(self) -> int:
        """Give the most memory that the process ever had, bytes resident, torch itself included."""
        return int(self._ask("peak"))

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.join(10)
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, what: str) -> Any:
        self._ours.send(what)
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._ours.recv()
        except EOFError:
            self._process.join()
            raise PANetError(
                f"a process of the benchmark ended with code {self._process.exitcode}: most likely there was too "
                "little memory: choose fewer candidates with --only"
            ) from None
        if isinstance(answer, PANetError):
            raise answer
        return answer


def _serve(
    connection: Connection,
    make: Callable[..., Candidate],
    arguments: tuple[object, ...],
    before: Callable[[], object] | None,
    threads: int,
    clock: str,
) -> None:
    """Answer until the other side closes."""
    if before is not None:
        before()
    torch.set_num_threads(threads)
    now = CLOCKS[clock]
    try:
        candidate = make(*arguments)
        connection.send(None)
        while True:
            what = connection.recv()
            if what == "run":
                start = now()
                candidate.run()
                connection.send(now() - start)
            else:
                answers: dict[str, Callable[[], object]] = {
                    "peak": _peak,
                    "found": candidate.found,
                    "stages": lambda: candidate.stages(now),
                }
                connection.send(answers[what]())
    except PANetError as error:
        connection.send(error)
    except (EOFError, KeyboardInterrupt):
        return


def _peak() -> int:
    if sys.platform == "win32":
        return 0  # not told there
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
