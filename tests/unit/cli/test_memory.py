"""The allocator's setting: made once by the command line, and not where it is switched off."""

import os
import subprocess
import sys

import pytest

from panet.cli import main, memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")

# Page faults of filling 40 MB twenty times: with each mapped anew, 10,000 a time.
COUNT_FAULTS = """
import resource, sys
from panet.cli.memory import keep_memory
done = keep_memory()
def fill():
    b"x" * 40_000_000
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@linux
def test_freed_memory_is_used_again() -> None:
    kept, faults = count_faults()
    if kept == "False":
        pytest.skip("not glibc")
    assert faults < 1000


@linux
def test_the_environment_variable_switches_it_off() -> None:
    kept, faults = count_faults(**{memory.SWITCH: "0"})
    assert kept == "False"
    assert faults > 1000


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert memory.keep_memory() is False


def test_the_command_line_does_it_and_the_package_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(main, "keep_memory", lambda: calls.append("kept"))
    monkeypatch.setattr(sys, "argv", ["panet", "--version"])
    main.run(["--version"])
    assert calls == []
    with pytest.raises(SystemExit):
        main.main()
    assert calls == ["kept"]
