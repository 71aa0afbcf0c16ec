"""Delete each check of the data boundary in turn, and count the tests that fail: none may go unnoticed.

A check is a statement that refuses or warns: `raise ...`, `findings.stop(...)`, `note(...)` and the like, or an
`assert` of the contract. It is replaced by `pass` in a copy of the sources; the sources themselves are not touched.
Every copy is tried in a process of its own, which is forked after the heavy libraries have been imported.

    python benchmarks/guards.py
    python benchmarks/guards.py objects.py segmentation.py

Prints file, line, statement and the number of failing tests of the battery in strict mode and of the contract; if none
fails there, of the unit tests of data and masks, and then of the battery in skip mode. Exits with 1 if some check can
go unnoticed.
"""

import ast
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    *(f"data/{name}.py" for name in ("documents", "outline", "coco", "folders", "records", "inspection", "images")),
    *(f"data/{name}.py" for name in ("objects", "segmentation", "contract", "report")),
    *(f"ops/{name}.py" for name in ("polygons", "rle")),
)
CALLS = ("stop", "warn", "add_row", "note", "_refuse", "_check_length")
NO_GUARDS = {"list_images"}  # it looks for the pictures of `predict`
STAGES = (
    ["tests/battery/test_boundary.py", "tests/battery/test_contract.py", "-k", "strict or contract"],
    [f"tests/unit/data/test_{name}.py" for name in ("images", "documents", "coco", "dataset", "problems")]
    + ["tests/unit/ops/test_rle.py", "tests/unit/ops/test_polygons.py", "tests/unit/cli/test_findings.py"],
    ["tests/battery/test_boundary.py", "tests/battery/test_skip.py", "-k", "not strict"],
)


@dataclass(frozen=True)
class Guard:
    """A statement to delete: its file below src/panet, and its place in it."""

    file: str
    line: int
    end_line: int
    column: int
    text: str


def find_guards(file: str) -> Iterator[Guard]:
    """Give the guards of a file, from the top."""
    source = (ROOT / "src" / "panet" / file).read_text(encoding="utf-8")
    lines = source.splitlines()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or function.name in NO_GUARDS:
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and _is_guard(node, file):
                text = " ".join(line.strip() for line in lines[node.lineno - 1 : node.end_lineno])
                yield Guard(file, node.lineno, node.end_lineno or node.lineno, node.col_offset, text)


def _is_guard(node: ast.stmt, file: str) -> bool:
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id not in ("IndexError", "error")
    if isinstance(node, ast.Assert):
        return file == "data/contract.py"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in CALLS
    return False


def count_failures(guard: Guard, folder: Path) -> int:
    """Delete a guard in a copy of the sources; give the number of tests that fail with it."""
    copied = folder / "src"
    shutil.copytree(ROOT / "src", copied, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    path = copied / "panet" / guard.file
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[guard.line - 1 : guard.end_line] = [" " * guard.column + "pass\n"] * (guard.end_line - guard.line + 1)
    path.write_text("".join(lines), encoding="utf-8")
    for stage in STAGES:
        answers: multiprocessing.Queue[int] = multiprocessing.get_context("fork").Queue()
        child = multiprocessing.get_context("fork").Process(target=_run, args=(copied, stage, folder, answers))
        child.start()
        child.join()
        failures = answers.get() if child.exitcode == 0 else 1  # a child that crashes has noticed too
        if failures:
            return failures
    return 0


def _run(copied: Path, tests: list[str], folder: Path, answers: "multiprocessing.Queue[int]") -> None:
    """Run tests on the copied sources, in this process."""
    import pytest

    class Counter:
        failures = 0

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            self.failures += report.failed

    sys.path.insert(0, str(copied))
    os.chdir(ROOT)
    with open(folder / "log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        counter = Counter()
        options = ["-q", "-p", "no:cacheprovider", "--tb=no", f"--basetemp={folder / 'tests'}", "-m", "not shared"]
        options.append("--timeout=60")  # unguarded, a pipe is waited for without end
        code = pytest.main([*tests, *options], plugins=[counter])
        import panet

        assert Path(panet.__file__).is_relative_to(copied), panet.__file__
    answers.put(max(counter.failures, int(code not in (0, 1, 5))))


def main() -> int:
    """Try every guard; give the exit code."""
    import pytest
    import torch
    import torchvision.tv_tensors

    assert {pytest, torchvision.tv_tensors}  # imported once, for all children
    torch.set_num_threads(1)
    chosen = [file for file in FILES if not sys.argv[1:] or Path(file).name in sys.argv[1:]]
    unnoticed = num_guards = 0
    start = time.monotonic()
    print("failing  guard")
    for guard in (guard for file in chosen for guard in find_guards(file)):
        with tempfile.TemporaryDirectory() as folder:
            failures = count_failures(guard, Path(folder))
        num_guards, unnoticed = num_guards + 1, unnoticed + (failures == 0)
        print(f"{failures:7}  {guard.file}:{guard.line}: {guard.text[:100]}", flush=True)
    print(f"{num_guards} guards, {unnoticed} of them can be deleted unnoticed; {time.monotonic() - start:.0f} s")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
