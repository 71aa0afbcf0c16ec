"""How much memory a process has, may have, and has had at most: from /proc, control groups and CUDA alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Room", "current_memory", "find_room", "peak_memory", "reset_peak"]

_ROOT = Path("/")


class Room(NamedTuple):
    """What this process may have in all, what it has now included.

    Args:
        num_bytes: of it.
        source: what sets the limit.
    """

    num_bytes: int
    source: str


def find_room(device: torch.device, root: Path = _ROOT) -> Room | None:
    """Give the room that a device leaves to this process; None where that cannot be told.

    On the CPU it is the least of what the machine has available and of what each control group above this process (v1
    and v2) still allows: files that its pages cache count as free.

    Args:
        device: of the training.
        root: of the file system.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Room(free + torch.cuda.memory_reserved(device), f"of {torch.cuda.get_device_name(device)}")
    if device.type != "cpu":
        return None
    own = _resident(root)
    rooms = [Room(left + own, source) for left, source in (*_machine(root), *_groups(root))]
    return min(rooms, default=None)


def current_memory(device: torch.device, root: Path = _ROOT) -> int:
    """Give what this process has now, in bytes; 0 where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _resident(root) if device.type == "cpu" else 0


def peak_memory(device: torch.device, root: Path = _ROOT) -> int | None:
    """Give the most that this process has had, in bytes, since `reset_peak`; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu":
        return None
    kilobytes = _fields(root / "proc/self/status").get("VmHWM")
    return None if kilobytes is None else kilobytes * 1024


def reset_peak(device: torch.device, root: Path = _ROOT) -> None:
    """Count anew from what there is now, where the system allows that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        (root / "proc/self/clear_refs").write_text("5")


def _resident(root: Path) -> int:
    try:
        pages = (root / "proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _machine(root: Path) -> Iterator[tuple[int, str]]:
    available = _fields(root / "proc/meminfo").get("MemAvailable")
    if available is not None:
        yield available * 1024, "of this machine"


def _groups(root: Path) -> Iterator[tuple[int, str]]:
    """Give what each control group above this process leaves, itself included."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        names = ("limit_in_bytes", "usage_in_bytes") if controllers else ("max", "current")
        # In a container the path is that outside: then only the mount itself is there.
        group = mount / place.strip("/")
        for folder in (group, *group.parents):
            left = _left(folder, *names)
            if left is not None:
                yield left, f"by the control group {place if folder != mount else '/'}"
            if folder == mount:
                break


def _left(group: Path, limit_name: str, usage_name: str) -> int | None:
    limit, usage = (_number(group / f"memory.{name}") for name in (limit_name, usage_name))
    if limit is None or usage is None:
        return None
    files = _fields(group / "memory.stat")
    reclaimable = files.get("total_inactive_file", files.get("inactive_file", 0))
    return max(0, limit - usage + reclaimable)


def _number(path: Path) -> int | None:
    """Read a whole number; None if it is not there or says "max"."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Read lines such as "VmHWM:  1234 kB" or "inactive_file 1234"; others are passed over."""
    pairs = [line.replace(":", " ").split()[:2] for line in _lines(path)]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
