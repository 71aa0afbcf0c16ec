"""How much memory there is: of the machine, of control groups of both versions."""

import mmap
import os
from pathlib import Path

import pytest
import torch

from panet.train.room import current_memory, find_room, peak_memory, reset_peak

CPU = torch.device("cpu")
PAGE = os.sysconf("SC_PAGE_SIZE")


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """8 MiB available, and 1000 pages in use by this process."""
    write(tmp_path, "proc/meminfo", "MemTotal:  99999 kB\nMemAvailable:   8192 kB\n")
    write(tmp_path, "proc/self/statm", "5000 1000 300 1 0 200 0\n")
    return tmp_path


def test_nothing_is_known_where_there_is_no_proc(tmp_path: Path) -> None:
    assert find_room(CPU, tmp_path) is None
    assert peak_memory(CPU, tmp_path) is None
    assert current_memory(CPU, tmp_path) == 0


def test_a_process_may_have_what_is_available_and_what_it_has(machine: Path) -> None:
    assert find_room(CPU, machine) == (8192 * 1024 + 1000 * PAGE, "of this machine")


def test_a_limit_of_version_1_counts_without_the_files_that_are_cached(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "5:cpu:/\n4:memory:/jobs/mine\n0::/\n")
    group = "sys/fs/cgroup/memory/jobs/mine"
    write(machine, f"{group}/memory.limit_in_bytes", "6000000\n")
    write(machine, f"{group}/memory.usage_in_bytes", "5000000\n")
    write(machine, f"{group}/memory.stat", "cache 9\ninactive_file 7\ntotal_inactive_file 400000\n")
    assert find_room(CPU, machine) == (1_400_000 + 1000 * PAGE, "by the control group /jobs/mine")


def test_the_limit_of_a_group_above_counts_too(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/jobs/mine\n")
    for group, limit in (("jobs/mine", "max"), ("jobs", "3000000")):
        write(machine, f"sys/fs/cgroup/{group}/memory.max", f"{limit}\n")
        write(machine, f"sys/fs/cgroup/{group}/memory.current", "1000000\n")
    write(machine, "sys/fs/cgroup/jobs/memory.stat", "inactive_file 500000\n")
    assert find_room(CPU, machine).num_bytes == 2_500_000 + 1000 * PAGE


def test_in_a_container_the_mount_itself_has_the_limit(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/docker/0123\n")
    write(machine, "sys/fs/cgroup/memory.max", "2000000\n")
    write(machine, "sys/fs/cgroup/memory.current", "1500000\n")
    assert find_room(CPU, machine) == (500_000 + 1000 * PAGE, "by the control group /")


def test_a_group_that_is_full_leaves_what_the_process_has(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/\n")
    write(machine, "sys/fs/cgroup/memory.max", "2000000\n")
    write(machine, "sys/fs/cgroup/memory.current", "2500000\n")
    assert find_room(CPU, machine).num_bytes == 1000 * PAGE


def test_a_group_without_a_limit_is_none(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "4:memory:/\n")
    write(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2**63 - PAGE}\n")
    write(machine, "sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n")
    assert find_room(CPU, machine).source == "of this machine"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_here_the_peak_covers_what_was_allocated_and_freed() -> None:
    reset_peak(CPU)
    before = current_memory(CPU)
    with mmap.mmap(-1, 128 * 2**20) as fresh:  # not from the allocator, which may have as much at hand
        fresh[::PAGE] = bytes(len(fresh) // PAGE)
    assert peak_memory(CPU) > before + 100 * 2**20
    assert find_room(CPU).num_bytes > before
