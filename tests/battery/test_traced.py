"""What a run opens, seen by the system: the data set, its own folder, Python and its libraries; and no connection."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from battery.training import TINY
from panet.data.synthetic import write_shapes

ROOT = Path(__file__).resolve().parents[2]
CALL = re.compile(r"\b(open|openat|creat|mkdir|mkdirat|unlink|unlinkat|rename|renameat2?)\((.*)\)\s+= (-?\d+)")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
WRITES = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC")
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/opt")

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def checksum(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns} {path.is_dir()}".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def trace(tmp_path: Path, *arguments: str) -> list[str]:
    """Run a command under strace; give the lines of its calls, those of its children too."""
    log = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=file,network", "-o", str(log)]
    for folder in ("home", "temporary"):
        (tmp_path / folder).mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temporary"),  # sockets between Python's own processes
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, sys.executable, "-m", "panet", *arguments],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text(errors="replace").splitlines()


def opened(calls: list[str], cwd: Path) -> list[tuple[Path, bool]]:
    """Give every path that a call succeeded on, and whether it may have been written."""
    found = []
    for line in calls:
        match = CALL.search(line)
        if match is None or int(match[3]) < 0:
            continue
        name, arguments = match[1], match[2]
        written = name not in ("open", "openat") or any(flag in arguments for flag in WRITES)
        found += [(Path(os.path.normpath(cwd / text)), written) for text in TEXT.findall(arguments)]
    return found


def is_below(path: Path, *folders: Path | str) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def test_a_run_opens_its_data_and_its_folder_and_connects_to_nothing(tmp_path: Path) -> None:
    data = tmp_path / "shapes"
    write_shapes(data, num_train=4, num_val=2, size=64, seed=0)
    before = checksum(data)
    settings = [word for setting in [*TINY, "data.workers=1"] for word in ("--set", setting)]
    calls = trace(tmp_path, "train", "shapes", "--steps", "2", "--name", "a", "--device", "cpu", *settings)
    assert checksum(data) == before
    paths = opened(calls, tmp_path)
    read = {path for path, written in paths if not written}
    written = {path for path, is_written in paths if is_written}
    runs = tmp_path / "runs"
    assert data / "train.json" in read
    assert runs / "a" / "data_report.json" in written
    assert {path for path in written if not is_below(path, runs, tmp_path / "temporary", "/dev", "/proc")} == set()
    assert [*(tmp_path / "home").iterdir(), *(tmp_path / "temporary").iterdir()] == []
    library = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    own = [*library, sys.prefix, sys.base_prefix, str(ROOT), *filter(None, sys.path)]
    # Python opens its folder in TMPDIR to clear it away, if the worker has not done so before.
    python = [*SYSTEM, *own, *(Path(folder).resolve() for folder in own), tmp_path / "temporary"]
    assert {path for path in read - written if not is_below(path, data, runs, *python) and path != tmp_path} == set()
    connected = [line for line in calls if re.search(r"\b(connect|sendto|bind)\(", line) and "AF_UNIX" not in line]
    assert [line for line in connected if "AF_INET" in line or "AF_INET6" in line] == []


def test_checking_writes_nothing_at_all(tmp_path: Path) -> None:
    data = tmp_path / "shapes"
    write_shapes(data, num_train=4, num_val=2, size=64, seed=0)
    before = checksum(data)
    calls = trace(tmp_path, "check", "shapes", "--decode")
    assert checksum(data) == before
    written = {path for path, is_written in opened(calls, tmp_path) if is_written}
    assert {path for path in written if not is_below(path, tmp_path / "temporary", "/dev", "/proc")} == set()
    assert list((tmp_path / "temporary").iterdir()) == []
