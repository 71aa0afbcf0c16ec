"""Faults of files that lie on the disk: cut and flipped checkpoints."""

import os
import random
from functools import partial
from pathlib import Path

from faults.harness import Fault, checkpoints, killed_run, landed, resuming, run, same_as_whole


def _begin(seed: int, folder: Path) -> list[Path]:
    killed_run(seed, folder)
    found = checkpoints(folder)
    landed(len(found) == 2, found)
    return found


def cut(seed: int, folder: Path, keep: float) -> str:
    """Cut the newest checkpoint to so many bytes, or to a share of them, or by so many if below zero."""
    newest, older = _begin(seed, folder)
    size = newest.stat().st_size
    left = int(size * keep) if 0 < keep < 1 else int(keep) if keep >= 0 else size + int(keep)
    os.truncate(newest, left)
    landed(newest.stat().st_size == left < size, left)
    return _goes_on(seed, folder, newest, older)


def flip(seed: int, folder: Path) -> str:
    """Flip one bit of the newest checkpoint's tensors."""
    newest, older = _begin(seed, folder)
    content = bytearray(newest.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    place = random.Random(seed).randrange(start, len(content))
    content[place] ^= 1 << (seed % 8)
    newest.write_bytes(content)
    return _goes_on(seed, folder, newest, older)


def all_cut(seed: int, folder: Path) -> str:
    """Cut all checkpoints."""
    for path in _begin(seed, folder):
        os.truncate(path, 100)
    ended = run(resuming(folder), folder)
    ended.expect(2)
    return f"exit 2: {ended.error}"


def lose(seed: int, folder: Path) -> str:
    """Remove the newest checkpoint, which SHA256SUMS names."""
    newest, older = _begin(seed, folder)
    newest.unlink()
    return _goes_on(seed, folder, newest, older)


def _goes_on(seed: int, folder: Path, newest: Path, older: Path) -> str:
    ended = run(resuming(folder), folder)
    ended.expect(0)
    step = int(older.stem.removeprefix("step-"))
    told = [line for line in ended.out.splitlines() if line.startswith(str(newest))]
    assert told, f"does not name {newest.name}: {ended.out}"
    assert f"going on after step {step}" in ended.out, ended.out
    return f"{told[0].removeprefix(str(newest.parent))}; {same_as_whole(seed, folder)}"


FAULTS = [
    *(
        Fault("K05", f"newest checkpoint cut to {name}", partial(cut, keep=keep))
        for name, keep in (("0 bytes", 0), ("1 byte", 1), ("100 bytes", 100), ("half", 0.5), ("all but 1 byte", -1))
    ),
    Fault("K05", "newest checkpoint removed", lose),
    Fault("K05", "every checkpoint cut", all_cut),
    Fault("K06", "one bit of the newest checkpoint flipped", flip),
]
