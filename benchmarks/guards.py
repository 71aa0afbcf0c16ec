"""Delete each check of the data boundary in turn, and see that a test fails: none may go unnoticed.

A check is a statement that refuses or warns: `raise ...`, `findings.stop(...)`, `note(...)` and the like, or an
`assert` of the contract. In a copy of the sources each stands behind a switch of its own (`if` in front of it), so that
one copy does for all. First the tests run once with all switches on, which tells what tests reach each check; then each
check is switched off, in a forked process, and the tests that reach it run, the quickest first, until one fails.
(A test that does not reach a statement cannot miss it.)

    python benchmarks/guards.py
    python benchmarks/guards.py objects.py segmentation.py

Prints for each check how many tests reach it, the first that failed without it, its place and its words; "-" for one
that can be deleted unnoticed, and then exits with 1.
"""

import ast
import builtins
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    *(f"data/{name}.py" for name in ("documents", "outline", "coco", "folders", "records", "inspection", "images")),
    *(f"data/{name}.py" for name in ("objects", "segmentation", "contract", "report", "layout")),
    *(f"ops/{name}.py" for name in ("polygons", "rle")),
    *(f"data/formats/{path.name}" for path in sorted((ROOT / "src/panet/data/formats").glob("*.py"))),
    *(f"evaluate/{name}.py" for name in ("truth", "results")),
)
CALLS = ("stop", "warn", "add_row", "note", "tell", "_refuse", "_check_length")
TESTS = [
    *(f"tests/battery/test_{name}.py" for name in ("boundary", "contract", "skip")),
    *(f"tests/unit/data/test_{name}.py" for name in ("images", "inspection", "documents", "coco", "dataset")),
    *(f"tests/unit/data/test_{name}.py" for name in ("problems", "layout")),
    *(f"tests/unit/ops/test_{name}.py" for name in ("rle", "polygons", "outlines")),
    *("tests/unit/data/formats", "tests/unit/evaluate/test_truth.py", "tests/unit/evaluate/test_results.py"),
    *("tests/unit/evaluate/test_coco.py", "tests/unit/cli/test_findings.py", "tests/unit/cli/test_convert.py"),
    *("tests/unit/predict/test_folder.py", "tests/unit/cli/test_predict.py"),
]
_FORK = multiprocessing.get_context("fork")
_SWITCH = "is_guarded"


@dataclass(frozen=True)
class Guard:
    """A statement to delete: its file below src/panet, its place in it (line from 1, column in bytes from 0)."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text:.100}"


def find_guards(file: str) -> Iterator[Guard]:
    """Give the guards of a file, from the top."""
    source = (ROOT / "src" / "panet" / file).read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in sorted(ast.walk(ast.parse(source)), key=lambda node: getattr(node, "lineno", 0)):
        if isinstance(node, ast.stmt) and _is_guard(node, file):
            text = " ".join(line.strip() for line in lines[node.lineno - 1 : node.end_lineno])
            yield Guard(file, node.lineno, node.col_offset, text)


def _is_guard(node: ast.stmt, file: str) -> bool:
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        name = raised.attr if isinstance(raised, ast.Attribute) else getattr(raised, "id", "")
        return name not in ("", "IndexError", "error")
    if isinstance(node, ast.Assert):
        return file == "data/contract.py"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in CALLS
    return False


@dataclass
class Seen:
    """What a run of tests showed.

    Args:
        reached: number of a guard -> the tests that reach it.
        seconds: that each test took.
        failed: the first that failed.
    """

    reached: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: str = ""


def write_switched(guards: list[Guard], copied: Path) -> None:
    """Copy the sources, with `if is_guarded(i): ` in front of guard i."""
    shutil.copytree(ROOT / "src", copied, ignore=shutil.ignore_patterns("__pycache__"))
    for file in {guard.file for guard in guards}:
        path = copied / "panet" / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for number, guard in enumerate(guards):
            if guard.file == file:
                line = lines[guard.line - 1]
                lines[guard.line - 1] = f"{line[: guard.column]}if {_SWITCH}({number}): {line[guard.column :]}"
        path.write_text("".join(lines), encoding="utf-8")


class Trial:
    """A plugin of pytest, which collects the tests once: it runs all of them, then for each guard those that reach it.

    Args:
        guards: number i has switch i.
        out: takes the table.
    """

    def __init__(self, guards: list[Guard], out: TextIO) -> None:
        self.num_unnoticed = 0
        self._guards = guards
        self._out = out
        self._off = -1
        self._test = ""
        self._seen = Seen()

    def is_guarded(self, number: int) -> bool:
        """Be the switch of a guard, and note which test reaches it."""
        if self._test and self._test not in self._seen.reached[number][-1:]:
            self._seen.reached[number].append(self._test)
        return number != self._off

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test = nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seen.seconds[report.nodeid] += report.duration
        if report.failed and not self._seen.failed:
            self._seen.failed = report.nodeid

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests again and again, each time in a forked process."""
        whole = self._run(session.items, off=-1)
        if whole is None or whole.failed:
            sys.exit(f"with all guards in place: {whole.failed if whole else 'the tests did not end'}")
        print("tests  noticed by -> guard", file=self._out, flush=True)
        for number, guard in enumerate(self._guards):
            names = set(whole.reached[number])
            items = [item for item in session.items if item.nodeid in names]
            items.sort(key=lambda item: whole.seconds[item.nodeid])
            seen = self._run(items, off=number)
            failed = "the process ended" if seen is None else seen.failed
            self.num_unnoticed += not failed
            line = f"{len(items):5}  {failed.partition('::')[2] or failed or '-':.90} -> {guard}"
            print(line, file=self._out, flush=True)
        return True

    def _run(self, items: list[Any], off: int) -> "Seen | None":
        """Run tests until one fails; give what was seen, or None if the process came to an end of its own."""
        answers = _FORK.SimpleQueue()
        child = _FORK.Process(target=self._run_here, args=(items, off, answers))
        child.start()
        while child.is_alive() and answers.empty():
            time.sleep(0.01)
        seen: Seen | None = None if answers.empty() else answers.get()
        child.join()
        return seen

    def _run_here(self, items: list[Any], off: int, answers: Any) -> None:
        self._off = off
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._seen.failed:
                break
        answers.put(self._seen)
        os._exit(0)  # what else pytest does at its end, the process that collected does


def main() -> int:
    """Try every guard; give the exit code."""
    chosen = [file for file in FILES if not sys.argv[1:] or Path(file).name in sys.argv[1:]]
    guards = [guard for file in chosen for guard in find_guards(file)]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        copied = Path(folder) / "src"
        write_switched(guards, copied)
        trial = Trial(guards, out)
        setattr(builtins, _SWITCH, trial.is_guarded)
        sys.path.insert(0, str(copied))
        os.chdir(ROOT)
        with open(Path(folder) / "log", "w+", encoding="utf-8") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = _collect(Path(folder), trial)
            if code:
                out.write(Path(log.name).read_text(encoding="utf-8")[-3000:])
                return 1
        seconds = time.monotonic() - start
        num_unnoticed = trial.num_unnoticed
        print(f"{len(guards)} guards, {num_unnoticed} can be deleted unnoticed; {seconds:.0f} s", file=out)
    return int(trial.num_unnoticed > 0)


def _collect(folder: Path, trial: Trial) -> int:
    import pytest
    import torch

    torch.set_num_threads(1)
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={folder / 'tests'}", "-m", "not shared"]
    options.append("--timeout=120")  # unguarded, a pipe is waited for without end
    code = pytest.main([*TESTS, *options], plugins=[trial])
    import panet

    assert Path(panet.__file__).is_relative_to(folder), panet.__file__
    return int(code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED))


if __name__ == "__main__":
    sys.exit(main())
