"""The battery and 2,000 hostile values in processes of their own: no signal, no traceback, bounded time and memory."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("hostile.py")


@pytest.mark.parametrize(("kind", "number"), [("cases", 240), ("segmentations", 1000), ("rows", 600), ("names", 400)])
def test_nothing_hostile_ends_the_process(kind: str, number: int) -> None:
    done = subprocess.run([sys.executable, SCRIPT, kind, str(number)], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    tried, what = done.stdout.split()
    assert what == kind
    assert int(tried) >= number
