"""Start `panet` as torchrun does it, two processes on gloo, a thread each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import panet
from battery.training import TINY

SOURCE = Path(panet.__file__).resolve().parents[1]
TESTS = Path(__file__).resolve().parents[1]
FAULTY = TESTS / "ranks" / "faulty.py"
SETTINGS = [word for setting in [*TINY, "data.workers=0"] for word in ("--set", setting)]


def places(**more: str) -> dict[str, str]:
    """Give the environment in which the project of this test is found."""
    path = os.pathsep.join(map(str, (SOURCE, TESTS)))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}


def launch(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a folder."""
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=folder, env=places(), capture_output=True, text=True, timeout=600, check=False)


def alone(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return launch("-m", "panet", *arguments, folder=folder)


def torchrun(*arguments: object, folder: Path, num: int = 2, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Run `panet` in several processes; with a fault, as `faulty.py` describes it."""
    program = [FAULTY, fault] if fault else ["-m", "panet"]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", num)
    return launch(*launcher, *program, *arguments, folder=folder)


def train(data: Path, *arguments: object) -> list[object]:
    return ["train", data, *SETTINGS, "--device", "cpu", *arguments]


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
