"""Delete each check of the data boundary in turn, and see that a test fails: none may go unnoticed.

A check is a statement that refuses or warns: `raise ...`, `findings.stop(...)`, `note(...)` and the like, or an
`assert` of the contract. In a copy of the sources each stands behind a switch of its own (`if` in front of it), so that
one copy does for all. First the tests run once with all switches on, which tells what tests reach each check; then each
check is switched off, in a forked process, and the tests that reach it run until one fails. (A test that does not reach
a statement cannot miss it.)

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    *("tests/battery/test_boundary.py", "tests/battery/test_contract.py", "tests/battery/test_skip.py"),
    *(f"tests/unit/data/test_{name}.py" for name in ("images", "documents", "coco", "dataset", "problems", "layout")),
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


class Watcher:
    """A plugin of pytest: what tests reach each guard, and which test failed first."""

    def __init__(self) -> None:
        self.reached: dict[int, list[str]] = defaultdict(list)
        self.failed = ""
        self._test = ""

    def mark(self, number: int) -> bool:
        """Note that the running test reaches a guard."""
        if self._test and self._test not in self.reached[number][-1:]:
            self.reached[number].append(self._test)
        return True

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test = nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run_tests(tests: list[str], folder: Path, switch: Callable[[Watcher], Callable[[int], bool]]) -> Watcher | None:
    """Run tests in a forked process; give what was seen, or None if the process came to an end of its own."""
    answers = _FORK.SimpleQueue()
    child = _FORK.Process(target=_run, args=(tests, folder, switch, answers))
    child.start()
    while child.is_alive() and answers.empty():
        time.sleep(0.02)
    watcher = None if answers.empty() else answers.get()
    child.join()
    return watcher


def _run(tests: list[str], folder: Path, switch: Callable[[Watcher], Callable[[int], bool]], answers: Any) -> None:
    import pytest

    watcher = Watcher()
    setattr(builtins, _SWITCH, switch(watcher))
    with open(folder / "log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        options = ["-q", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={folder / 'tests'}", "-m", "not shared"]
        options += ["-x", "--timeout=120"]  # unguarded, a pipe is waited for without end
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what this process has imported already
        code = pytest.main([*tests, *options], plugins=[watcher])
    if code not in (0, 1):
        watcher.failed = watcher.failed or f"pytest ends with {code}"
    answers.put(watcher)


def try_guards(guards: list[Guard], folder: Path) -> Iterator[tuple[Guard, int, str]]:
    """Switch off one guard after the other; give each with the number of tests that reach it, and the first failure."""
    whole = run_tests(TESTS, folder, lambda watcher: watcher.mark)
    if whole is None or whole.failed:
        print((folder / "log").read_text()[-3000:])
        sys.exit(f"with all guards in place: {whole.failed if whole else 'the tests did not end'}")
    for number, guard in enumerate(guards):
        tests = whole.reached.get(number, [])
        failed = ""
        for some in (tests[:20], tests[20:]):  # few are quicker to start
            if some and not failed:
                seen = run_tests(some, folder, _all_but(number))
                failed = "the process ended" if seen is None else seen.failed
        yield guard, len(tests), failed


def _all_but(number: int) -> Callable[[Watcher], Callable[[int], bool]]:
    return lambda watcher: lambda reached: reached != number


def main() -> int:
    """Try every guard; give the exit code."""
    chosen = [file for file in FILES if not sys.argv[1:] or Path(file).name in sys.argv[1:]]
    guards = [guard for file in chosen for guard in find_guards(file)]
    start, num_unnoticed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "src"
        write_switched(guards, copied)
        sys.path.insert(0, str(copied))
        os.chdir(ROOT)
        setattr(builtins, _SWITCH, lambda _: True)
        import pytest
        import torch
        import torchvision.tv_tensors

        import panet.cli.main
        import panet.cli.training  # imported once, for all children

        assert pytest
        assert torchvision.tv_tensors
        assert Path(panet.cli.training.__file__).is_relative_to(copied)
        torch.set_num_threads(1)
        print("tests  noticed by -> guard", flush=True)
        for guard, num_tests, failed in try_guards(guards, Path(folder)):
            num_unnoticed += not failed
            test = failed.partition("::")[2] or failed or "-"
            print(f"{num_tests:5}  {test[:90]} -> {guard.file}:{guard.line}: {guard.text[:100]}", flush=True)
    seconds = time.monotonic() - start
    print(f"{len(guards)} guards, {num_unnoticed} of them can be deleted unnoticed; {seconds:.0f} s")
    return int(num_unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
